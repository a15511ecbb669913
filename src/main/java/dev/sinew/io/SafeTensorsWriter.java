package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/** A safetensors file in the making: the header is written first, data wherever its place is. */
final class SafeTensorsWriter implements CheckpointWriter {
  /** The place of a tensor, which counts the bytes that have come. */
  private static final class Slot extends AtomicLong {
    private static final long serialVersionUID = 1;

    private final transient TensorInfo tensor;
    private final long offset;

    Slot(TensorInfo tensor, long offset) {
      this.tensor = tensor;
      this.offset = offset;
    }
  }

  private final DataFile file;
  private final Map<String, Slot> slots = new HashMap<>();

  SafeTensorsWriter(DataFile file, SafeTensorsLayout layout) throws CheckpointException {
    this.file = file;
    // The layout itself is not kept: its header alone takes 100 bytes a tensor.
    layout
        .offsets()
        .forEach((name, offset) -> slots.put(name, new Slot(layout.tensors().get(name), offset)));
    file.write(0, layout.start().duplicate());
  }

  @Override
  public void write(String tensor, long byteOffset, ByteBuffer source) throws CheckpointException {
    Slot slot = slots.get(tensor);
    if (slot == null) {
      throw new IllegalArgumentException(
          "tensor " + Messages.quote(tensor) + " was not announced at creation");
    }
    int bytes = source.remaining();
    slot.tensor.requireRange(byteOffset, bytes);
    file.write(slot.offset + byteOffset, source);
    slot.addAndGet(bytes);
  }

  @Override
  public void commit() throws CheckpointException {
    requireComplete();
    file.commit();
  }

  private void requireComplete() throws CheckpointException {
    for (Slot slot : slots.values()) {
      // More than all is fine: a caller may write a part again. Less is a file full of holes.
      if (slot.get() < slot.tensor.bytes()) {
        close();
        throw new CheckpointException(
            Messages.quote(file.target())
                + " was not written: of tensor "
                + Messages.quote(slot.tensor.name())
                + " only "
                + slot.get()
                + " of "
                + slot.tensor.bytes()
                + " bytes have come");
      }
    }
  }

  @Override
  public void close() {
    file.close();
  }
}
