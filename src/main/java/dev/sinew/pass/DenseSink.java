package dev.sinew.pass;

import dev.sinew.Tensor;
import dev.sinew.model.CheckpointWriter;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Writes tiles as they are. */
record DenseSink(CheckpointWriter writer) implements TileSink {
  @Override
  public void emit(String tensor, long byteOffset, ByteBuffer data) throws IOException {
    writer.write(tensor, byteOffset, data);
  }

  @Override
  public void take(Tile tile, TileGrid grid) throws IOException {
    Tensor data = tile.data();
    long offset = data.dtype().bytes(tile.row() * grid.cols() + tile.col());
    tile.read(data, buffer -> emit(tile.tensor().name(), offset, buffer));
  }
}
