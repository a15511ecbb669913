package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.PackedWeights;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.ClusteredTensor;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import dev.sinew.pass.QuantizedParts;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;

/**
 * The tensors of a checkpoint under the names that a module knows them by, and the forms they are
 * stored in. For the time of one load, on one thread.
 */
final class StateDict {
  private static final int PIECE = 1 << 30; // bytes read at a time

  private final Checkpoint stored;
  // Bitmaps are decoded to the very bits they hold; integers stay integers.
  private final Checkpoint dense;
  // Everything is decoded, integers to F32.
  private final Checkpoint decoded;
  private final Map<String, BitmapTensor> bitmaps;
  private final Map<String, QuantizedTensor> quantized;
  private final Map<String, ClusteredTensor> clustered;
  // By the name in the module.
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private long storedBytes;
  private long readNanos;
  private long packNanos;

  /**
   * @throws CheckpointException if two tensors get one name
   * @throws IOException if the checkpoint is damaged
   */
  StateDict(Checkpoint checkpoint, LoadOptions options) throws IOException {
    stored = checkpoint;
    dense = Decoding.dense(checkpoint);
    decoded = Decoding.view(checkpoint);
    bitmaps = BitmapTensor.find(checkpoint);
    quantized = QuantizedTensor.find(dense);
    clustered = ClusteredTensor.find(dense);
    for (TensorInfo tensor : decoded.tensors().values()) {
      String name = options.names().apply(tensor.name());
      TensorInfo other = name == null ? null : tensors.putIfAbsent(name, tensor);
      if (other != null) {
        throw new CheckpointException(
            Messages.quote(checkpoint.path())
                + " cannot be loaded: "
                + Messages.quote(other.name())
                + " and "
                + Messages.quote(tensor.name())
                + " both become "
                + Messages.quote(name)
                + "; choose names that keep them apart");
      }
    }
  }

  Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  /** The shape of the real tensor, or null if there is none of this name. */
  List<Long> shape(String name) {
    TensorInfo tensor = tensors.get(name);
    return tensor == null ? null : tensor.shape();
  }

  /** The tensor as it is if it is stored plainly, and else decoded: to F32 if it is quantized. */
  Tensor read(String name, Device device) throws IOException {
    TensorInfo tensor = tensors.get(name);
    requireFloating(tensor);
    count(tensor.name());
    return read(decoded, tensor, device);
  }

  private void requireFloating(TensorInfo tensor) throws CheckpointException {
    if (!tensor.dtype().isFloating()) {
      throw new CheckpointException(
          Messages.quote(stored.path())
              + " cannot be loaded: "
              + Messages.quote(tensor.name())
              + " is "
              + tensor.dtype()
              + ", not floating as weights are");
    }
  }

  /**
   * Packs weights in the form that they are stored in.
   *
   * @param factors what to multiply each row with, or null; if the form {@link #takesFactors}
   */
  PackedWeights pack(String name, LoadOptions options, float[] factors) throws IOException {
    String plain = tensors.get(name).name();
    QuantizedTensor integers = quantized.get(plain);
    ClusteredTensor indices = clustered.get(plain);
    BitmapTensor bitmap = bitmaps.get(integers == null ? plain : integers.stored().name());
    requireFloating(tensors.get(name));
    count(plain);
    try (WeightPacker packer = new WeightPacker(this, options, factors)) {
      if (bitmap != null && computesSparsely(bitmap, integers)) {
        return packer.sparse(bitmap, integers);
      }
      if (integers != null) {
        return packer.quantized(integers);
      }
      return indices != null ? packer.clustered(indices) : packer.plain(tensors.get(name));
    }
  }

  /** Whether rows can be multiplied with factors while they are packed. */
  boolean takesFactors(String name) {
    String plain = tensors.get(name).name();
    boolean shared = clustered.containsKey(plain);
    return !shared && (quantized.containsKey(plain) || !bitmaps.containsKey(plain));
  }

  /**
   * Reads the table of an embedding in the form that it is stored in; those with a bitmap dense.
   */
  void table(String name, EmbeddingTable table, Scope scope, Device device) throws IOException {
    TensorInfo tensor = tensors.get(name);
    QuantizedTensor integers = quantized.get(tensor.name());
    ClusteredTensor indices = clustered.get(tensor.name());
    requireFloating(tensor);
    count(tensor.name());
    if (integers != null) {
      table.quantized(parts(integers, scope));
    } else if (indices != null) {
      Tensor packed = scope.add(readDense(indices.stored(), device));
      Tensor rows = scope.add(packed.view(0, tensor.rows(), indices.rowBytes()));
      try (Tensor codebook = readDense(indices.codebook(), device)) {
        table.clustered(rows, codebook, indices.bits(), indices.rowsPerGroup());
      }
    } else {
      Tensor read = scope.add(readDense(tensor, device));
      if (tensor.dtype() == DType.F64) {
        Tensor converted = scope.allocate(device, DType.F32, read.shape());
        Ops.convert(read, converted);
        read = converted;
      }
      table.plain(read);
    }
  }

  // Other forms are expanded to dense ones of the same type.
  private static boolean computesSparsely(BitmapTensor bitmap, QuantizedTensor integers) {
    return integers == null
        ? bitmap.logical().dtype().isFloating()
        : integers.zeroPoint() == null && integers.encoding().bits() == 8;
  }

  Checkpoint stored() {
    return stored;
  }

  /** A tensor of the checkpoint, those with a bitmap expanded. */
  Tensor readDense(TensorInfo tensor, Device device) throws IOException {
    return read(dense, tensor, device);
  }

  /** A tensor of the checkpoint as it is. */
  Tensor readStored(TensorInfo tensor, Device device) throws IOException {
    return read(stored, tensor, device);
  }

  QuantizedParts parts(QuantizedTensor tensor, Scope scope) throws IOException {
    long start = System.nanoTime();
    QuantizedParts parts = Decoding.parts(dense, tensor, scope);
    readNanos += System.nanoTime() - start;
    return parts;
  }

  /** Packs, and adds the time to that of packing. */
  PackedWeights timed(Supplier<PackedWeights> packing) {
    long start = System.nanoTime();
    PackedWeights packed = packing.get();
    packNanos += System.nanoTime() - start;
    return packed;
  }

  private Tensor read(Checkpoint from, TensorInfo tensor, Device device) throws IOException {
    long start = System.nanoTime();
    Tensor read = Tensor.allocate(device, tensor.dtype(), tensor.dimensions());
    try {
      for (long offset = 0; offset < read.byteSize(); offset += PIECE) {
        long at = offset;
        int bytes = (int) Math.min(PIECE, read.byteSize() - offset);
        read.<IOException>withBuffer(at, bytes, buffer -> from.read(tensor.name(), at, buffer));
      }
    } catch (IOException | RuntimeException | Error e) {
      read.close();
      throw e;
    }
    readNanos += System.nanoTime() - start;
    return read;
  }

  // Adds up what is stored for a tensor.
  private void count(String name) {
    QuantizedTensor integers = quantized.get(name);
    ClusteredTensor indices = clustered.get(name);
    Set<String> parts =
        integers != null
            ? integers.parts()
            : indices != null
                ? Set.of(indices.stored().name(), indices.codebook().name(), name + "_shape")
                : Set.of(name);
    for (String part : parts) {
      BitmapTensor bitmap = bitmaps.get(part);
      TensorInfo info = stored.tensors().get(part);
      storedBytes += bitmap != null ? bitmap.storedBytes() : info.bytes();
    }
  }

  long storedBytes() {
    return storedBytes;
  }

  double readSeconds() {
    return readNanos * 1e-9;
  }

  double packSeconds() {
    return packNanos * 1e-9;
  }
}
