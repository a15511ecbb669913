package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;

/** Writes tiles of sparse tensors as values and bitmap, where the layout says that they go. */
record BitmapSink(Checkpoint input, SparseLayout layout, TileSink dense) implements TileSink {
  @Override
  public long columns() {
    return SparseLayout.COLUMNS;
  }

  @Override
  public void emit(String tensor, long byteOffset, ByteBuffer data) throws IOException {
    dense.emit(tensor, byteOffset, data);
  }

  @Override
  public void take(Tile tile, TileGrid grid) throws IOException {
    Optional<SparseLayout.Entry> entry = layout.of(tile.tensor());
    if (entry.isPresent()) {
      write(tile, grid, entry.get());
    } else {
      dense.take(tile, grid);
    }
  }

  private void write(Tile tile, TileGrid grid, SparseLayout.Entry entry) throws IOException {
    Tensor data = tile.data();
    long rows = grid.rowCount(tile.index());
    long cols = grid.colCount(tile.index());
    long first = entry.begins()[(int) tile.index()];
    long count = entry.begins()[(int) tile.index() + 1] - first;
    if (Ops.countNonzeros(data) != count) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + " has changed while it was read: tensor "
              + Messages.quote(tile.tensor().name())
              + " has other zeros than before; try again when nothing writes to it");
    }
    Tensor values = tile.scratch("sparse values", data.dtype(), count);
    Tensor bitmap = tile.scratch("sparse bitmap", DType.U8, rows, (cols + 7) / 8);
    Tensor rowOffsets = tile.scratch("sparse row offsets", DType.I64, rows + 1);
    Ops.bitmapEncode(data, first, values, bitmap, rowOffsets);
    BitmapTensor stored = entry.stored();
    write(tile, values, 0, count, stored.values().name(), data.dtype().bytes(first));
    long bitmapOffset = tile.row() * stored.bytesPerRow() + tile.col() / SparseLayout.COLUMNS;
    write(tile, bitmap, 0, bitmap.elements(), stored.bitmap().name(), bitmapOffset);
    // Each row's offset is written by the tile where the row begins, the last by the last tile.
    long from = tile.col() == 0 ? 0 : rows;
    boolean isLast = tile.index() == grid.count() - 1;
    write(
        tile,
        rowOffsets,
        from,
        (isLast ? rows + 1 : rows) - from,
        stored.rowOffsets().name(),
        (tile.row() + from) * Long.BYTES);
    if (tile.index() == 0) {
      writeShape(stored);
    }
  }

  private void write(
      Tile tile, Tensor tensor, long first, long elements, String name, long byteOffset)
      throws IOException {
    int bytes = Math.toIntExact(tensor.dtype().bytes(elements));
    if (bytes > 0) {
      tile.read(
          tensor, tensor.dtype().bytes(first), bytes, buffer -> emit(name, byteOffset, buffer));
    }
  }

  private void writeShape(BitmapTensor stored) throws IOException {
    List<Long> shape = stored.logical().shape();
    ByteBuffer numbers =
        ByteBuffer.allocate(shape.size() * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    shape.forEach(numbers::putLong);
    emit(stored.shape().name(), 0, numbers.flip());
  }
}
