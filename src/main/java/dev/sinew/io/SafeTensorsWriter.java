package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** A safetensors file in the making: the header is written first, data wherever its place is. */
final class SafeTensorsWriter implements CheckpointWriter {
  private final AtomicFile file;
  private final SafeTensorsLayout layout;
  private final Map<String, LongAdder> written = new HashMap<>();

  SafeTensorsWriter(AtomicFile file, SafeTensorsLayout layout) throws CheckpointException {
    this.file = file;
    this.layout = layout;
    for (String tensor : layout.tensors().keySet()) {
      written.put(tensor, new LongAdder());
    }
    file.write(0, layout.start().duplicate());
  }

  @Override
  public void write(String tensor, long byteOffset, ByteBuffer source) throws CheckpointException {
    TensorInfo info = layout.tensors().get(tensor);
    if (info == null) {
      throw new IllegalArgumentException(
          "tensor " + Messages.quote(tensor) + " was not announced at creation");
    }
    int bytes = source.remaining();
    info.requireRange(byteOffset, bytes);
    file.write(layout.offsets().get(tensor) + byteOffset, source);
    written.get(tensor).add(bytes);
  }

  @Override
  public void commit() throws CheckpointException {
    for (TensorInfo tensor : layout.tensors().values()) {
      long count = written.get(tensor.name()).sum();
      // More than all is fine: a caller may write a part again. Less is a file full of holes.
      if (count < tensor.bytes()) {
        close();
        throw new CheckpointException(
            Messages.quote(file.target())
                + " was not written: of tensor "
                + Messages.quote(tensor.name())
                + " only "
                + count
                + " of "
                + tensor.bytes()
                + " bytes have come");
      }
    }
    file.commit();
  }

  @Override
  public void close() {
    file.close();
  }
}
