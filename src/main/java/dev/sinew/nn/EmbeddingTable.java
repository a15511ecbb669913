package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Ops;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.pass.QuantizedParts;
import java.io.IOException;

/** The rows of an {@link Embedding}, in the type that they are stored in. */
final class EmbeddingTable extends Slot {
  // What a table needs in memory; all null until it is loaded, then one of plain, quantized and
  // indices is there.
  private volatile Scope scope;
  private Tensor plain;
  private QuantizedParts quantized;
  private Tensor indices;
  private float[] codebook;
  private int bits;
  private long rowsPerGroup;

  EmbeddingTable(long count, long width) {
    super(count, width);
  }

  @Override
  void pack(StateDict dict, LoadOptions options) throws IOException {
    if (dict.shape(name()) == null) {
      return;
    }
    Scope loading = new Scope();
    try {
      dict.table(name(), this, loading, options.host());
      if (plain == null && options.device().isGpu()) {
        throw new UnsupportedOperationException(
            "the embedding "
                + Messages.quote(name())
                + " is stored as integers or indices, for which there are no kernels on "
                + options.device()
                + " yet; load the module on the CPU");
      }
      plain = options.onDevice(plain, loading);
    } catch (IOException | RuntimeException | Error e) {
      loading.close();
      throw e;
    }
    scope = loading;
  }

  void plain(Tensor table) {
    plain = table;
  }

  void quantized(QuantizedParts parts) {
    quantized = parts;
  }

  /**
   * @param packed U8 [count, bytes of a row]
   * @param entries the codebooks, one after the other
   */
  void clustered(Tensor packed, Tensor entries, int bitsPerIndex, long rowsTogether) {
    indices = packed;
    codebook = entries.toFloats();
    bits = bitsPerIndex;
    rowsPerGroup = rowsTogether;
  }

  /** Decodes the rows of these numbers. */
  void rows(Tensor ids, Tensor y, Arena arena) {
    if (scope == null) {
      throw notLoaded();
    }
    if (plain != null) {
      Functional.embedding(ids, plain, y);
    } else if (quantized != null) {
      dequantize(ids, y, arena);
    } else {
      lookUp(ids, y, arena);
    }
  }

  private void dequantize(Tensor ids, Tensor y, Arena arena) {
    Tensor values = gather(ids, quantized.values(), arena);
    Tensor scale = gatherSlices(ids, quantized.scale(), arena);
    Tensor zeroPoint =
        quantized.zeroPoint() == null ? null : gatherSlices(ids, quantized.zeroPoint(), arena);
    Tensor matrix = arena.reshape(y, ids.elements(), y.size(-1));
    // One scale for each row is what group 0 means, except for a single row, where it is the same.
    Ops.dequantize(values, scale, zeroPoint, quantized.group(), matrix);
    arena.release(matrix);
    arena.release(values);
    arena.release(scale);
    if (zeroPoint != null) {
      arena.release(zeroPoint);
    }
  }

  private void lookUp(Tensor ids, Tensor y, Arena arena) {
    Tensor packed = gather(ids, indices, arena);
    int count = (int) ids.elements();
    int width = (int) y.size(-1);
    int rowBytes = (int) indices.size(1);
    int mask = (1 << bits) - 1;
    ids.withBuffer(
        0,
        (int) ids.byteSize(),
        numbers ->
            packed.withBuffer(
                0,
                (int) packed.byteSize(),
                from ->
                    y.withBuffer(
                        0,
                        (int) y.byteSize(),
                        to -> {
                          for (int i = 0; i < count; i++) {
                            int group = (int) (numbers.getLong(8 * i) / rowsPerGroup);
                            for (int j = 0; j < width; j++) {
                              int bit = j * bits;
                              int at = i * rowBytes + bit / 8;
                              int two = from.get(at) & 255;
                              if (bit % 8 + bits > 8) {
                                two |= (from.get(at + 1) & 255) << 8;
                              }
                              int index = two >> bit % 8 & mask;
                              to.putFloat(4 * (i * width + j), codebook[(group << bits) + index]);
                            }
                          }
                        })));
    arena.release(packed);
  }

  // Scales or zero points of the rows: all of them share one, or each row has as many.
  private Tensor gatherSlices(Tensor ids, Tensor all, Arena arena) {
    long count = shape().get(0);
    long perRow = all.elements() / count;
    boolean shared = all.elements() == 1;
    Tensor gathered = arena.allocate(all.dtype(), shared ? 1 : ids.elements() * perRow);
    if (shared) {
      Layout.copy(all, 0, gathered, 0, all.byteSize());
    } else {
      gather(ids, all, perRow * all.dtype().bytes(1), gathered);
    }
    return gathered;
  }

  private Tensor gather(Tensor ids, Tensor matrix, Arena arena) {
    Tensor gathered = arena.allocate(matrix.dtype(), ids.elements(), matrix.size(1));
    gather(ids, matrix, matrix.byteSize() / matrix.size(0), gathered);
    return gathered;
  }

  private void gather(Tensor ids, Tensor from, long rowBytes, Tensor to) {
    long count = shape().get(0);
    int ask = Math.toIntExact(ids.elements());
    ids.withBuffer(
        0,
        (int) ids.byteSize(),
        numbers -> {
          for (int i = 0; i < ask; i++) {
            long id = numbers.getLong(8 * i);
            if (id < 0 || id >= count) {
              throw new IllegalArgumentException(
                  "there is no row " + id + " in an embedding of " + count + " rows");
            }
            Layout.copy(from, id * rowBytes, to, i * rowBytes, rowBytes);
          }
        });
  }

  @Override
  long bytes() {
    if (scope == null) {
      return 0;
    }
    if (plain != null) {
      return plain.byteSize();
    }
    if (quantized != null) {
      Tensor zeroPoint = quantized.zeroPoint();
      return quantized.values().byteSize()
          + quantized.scale().byteSize()
          + (zeroPoint == null ? 0 : zeroPoint.byteSize());
    }
    return indices.byteSize() + 4L * codebook.length;
  }

  @Override
  void close() {
    Scope open = scope;
    if (open != null) {
      open.close();
    }
  }
}
