package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The places of tensors in one or several safetensors files that are being written, with counts of
 * the bytes that have come. Once filled, safe for use by many threads.
 */
final class TensorSlots {
  /** One object a tensor, which is its own counter. */
  private static final class Slot extends AtomicLong {
    private static final long serialVersionUID = 1;

    private final transient DataFile file;
    private final transient TensorInfo tensor;
    private final long offset;

    Slot(DataFile file, TensorInfo tensor, long offset) {
      this.file = file;
      this.tensor = tensor;
      this.offset = offset;
    }
  }

  private final Map<String, Slot> slots = new HashMap<>();

  /**
   * Adds the tensors of a file and writes its header. The layout is not kept: its header alone
   * takes 100 bytes a tensor.
   *
   * @throws IllegalArgumentException if there is a tensor of that name already
   */
  void add(DataFile file, SafeTensorsLayout layout) throws CheckpointException {
    for (TensorInfo tensor : layout.tensors().values()) {
      Slot slot = new Slot(file, tensor, layout.offsets().get(tensor.name()));
      if (slots.putIfAbsent(tensor.name(), slot) != null) {
        throw new IllegalArgumentException(
            "two tensors have the name " + Messages.quote(tensor.name()));
      }
    }
    file.write(0, layout.start().duplicate());
  }

  /** The names of all tensors. */
  Set<String> names() {
    return slots.keySet();
  }

  /** The file that a tensor is in. */
  DataFile fileOf(String tensor) {
    return slots.get(tensor).file;
  }

  /** As {@link dev.sinew.model.CheckpointWriter#write}. */
  void write(String tensor, long byteOffset, ByteBuffer source) throws CheckpointException {
    Slot slot = slots.get(tensor);
    if (slot == null) {
      throw new IllegalArgumentException(
          "tensor " + Messages.quote(tensor) + " was not announced at creation");
    }
    int bytes = source.remaining();
    slot.tensor.requireRange(byteOffset, bytes);
    slot.file.write(slot.offset + byteOffset, source);
    slot.addAndGet(bytes);
  }

  /**
   * @throws CheckpointException if bytes of a tensor are missing
   */
  void requireComplete() throws CheckpointException {
    for (Slot slot : slots.values()) {
      // More than all is fine: a caller may write a part again. Less is a file full of holes.
      if (slot.get() < slot.tensor.bytes()) {
        throw new CheckpointException(
            Messages.quote(slot.file.target())
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
}
