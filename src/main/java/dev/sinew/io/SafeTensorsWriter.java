package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import java.nio.ByteBuffer;

/** A safetensors file in the making: the header is written first, data wherever its place is. */
final class SafeTensorsWriter implements CheckpointWriter {
  private final DataFile file;
  private final TensorSlots slots = new TensorSlots();

  SafeTensorsWriter(DataFile file, SafeTensorsLayout layout) throws CheckpointException {
    this.file = file;
    slots.add(file, layout);
  }

  @Override
  public void write(String tensor, long byteOffset, ByteBuffer source) throws CheckpointException {
    slots.write(tensor, byteOffset, source);
  }

  @Override
  public void commit() throws CheckpointException {
    try {
      slots.requireComplete();
    } catch (CheckpointException e) {
      close();
      throw e;
    }
    file.commit();
  }

  @Override
  public void close() {
    file.close();
  }
}
