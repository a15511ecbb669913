package dev.sinew.pass;

import dev.sinew.Ops;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/** Which tensors are stored with a bitmap, and where the values of each of their tiles go. */
final class SparseLayout {
  /** The columns of a byte of the bitmap: where a tile of a part of a row may begin. */
  static final long COLUMNS = 8;

  private static final String INT4 =
      "int4 cannot be stored with a bitmap: dense int4 is smaller than int8 with half of its"
          + " weights zero; use int8, or leave out the bitmap";
  private static final String ASYMMETRIC =
      "asymmetric integers cannot be stored with a bitmap, because they store a pruned weight as"
          + " the zero point; quantize symmetrically, or leave out the bitmap";
  private static final String CLUSTERED =
      "clustered weights cannot be stored with a bitmap, because they store a pruned weight as the"
          + " index of the zero; leave out one of the two";

  /** No tensor. */
  static final SparseLayout NONE = new SparseLayout(Map.of());

  private final Map<String, Entry> entries;

  /**
   * A tensor.
   *
   * @param stored its parts
   * @param begins for each tile, in index order, how many values are before it; then how many there
   *     are
   */
  record Entry(BitmapTensor stored, long[] begins) {}

  private SparseLayout(Map<String, Entry> entries) {
    this.entries = entries;
  }

  /** What is known of a tensor of the input; empty if it is stored dense. */
  Optional<Entry> of(TensorInfo tensor) {
    return Optional.ofNullable(entries.get(tensor.name()));
  }

  /** Puts the parts of sparse tensors in the place of the dense ones. */
  void replace(Map<String, List<TensorInfo>> outputs) {
    entries.forEach(
        (name, entry) -> {
          List<TensorInfo> dense = outputs.get(name);
          List<TensorInfo> parts = new ArrayList<>(entry.stored.parts());
          parts.addAll(dense.subList(1, dense.size()));
          outputs.put(name, parts);
        });
  }

  /**
   * @param tensor of the input
   * @param outputs what passes make of it
   * @throws IllegalArgumentException if a bitmap of it would be of no use
   */
  static void requirePossible(TensorInfo tensor, List<TensorInfo> outputs) {
    if (holds(outputs, tensor.name() + "_codebook")) {
      throw new IllegalArgumentException(CLUSTERED);
    }
    if (holds(outputs, tensor.name() + "_shape")) {
      throw new IllegalArgumentException(INT4);
    }
    if (holds(outputs, tensor.name() + "_zero_point")) {
      throw new IllegalArgumentException(ASYMMETRIC);
    }
  }

  private static boolean holds(List<TensorInfo> outputs, String name) {
    return outputs.stream().anyMatch(output -> output.name().equals(name));
  }

  /** Takes the place of a writer in a first run, which finds out how many values there are. */
  static final class Counter implements TileSink {
    private final Map<String, long[]> counts = new ConcurrentHashMap<>();

    @Override
    public long columns() {
      return COLUMNS;
    }

    @Override
    public void emit(String tensor, long byteOffset, ByteBuffer data) {}

    @Override
    public void take(Tile tile, TileGrid grid) {
      long[] tiles =
          counts.computeIfAbsent(
              tile.tensor().name(), name -> new long[Math.toIntExact(grid.count())]);
      tiles[(int) tile.index()] = Ops.countNonzeros(tile.data());
    }

    /**
     * What follows from the counts.
     *
     * @param outputs by tensor of the input, what passes make of it
     */
    SparseLayout layout(Map<String, List<TensorInfo>> outputs) {
      Map<String, Entry> entries = new HashMap<>();
      counts.forEach(
          (name, tiles) -> {
            long[] begins = new long[tiles.length + 1];
            for (int i = 0; i < tiles.length; i++) {
              begins[i + 1] = begins[i] + tiles[i];
            }
            TensorInfo dense = outputs.get(name).get(0);
            BitmapTensor stored = BitmapTensor.of(dense, begins[tiles.length]);
            if (stored.storedBytes() < dense.bytes()) {
              entries.put(name, new Entry(stored, begins));
            }
          });
      return new SparseLayout(entries);
    }
  }
}
