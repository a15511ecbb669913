package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/** Takes what the optimizer writes, and insists that every byte is written exactly once. */
final class MemoryWriter implements CheckpointWriter, Optimizer.Output {
  /** Called before every write. */
  interface WriteHook {
    void before(String tensor, long byteOffset) throws IOException;
  }

  final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  final Map<String, byte[]> data = new LinkedHashMap<>();
  private final Map<String, byte[]> writes = new LinkedHashMap<>();
  Map<String, String> metadata;
  volatile WriteHook hook = (tensor, offset) -> {};
  boolean committed;
  boolean closed;

  @Override
  public CheckpointWriter create(CheckpointPlan plan) {
    metadata = plan.metadata();
    for (TensorInfo info : plan.tensors()) {
      assertEquals(null, tensors.put(info.name(), info), "announced twice");
      data.put(info.name(), new byte[(int) info.bytes()]);
      writes.put(info.name(), new byte[(int) info.bytes()]);
    }
    return this;
  }

  @Override
  public void write(String tensor, long byteOffset, ByteBuffer source) throws IOException {
    hook.before(tensor, byteOffset);
    byte[] counts = writes.get(tensor);
    byte[] bytes = data.get(tensor);
    synchronized (bytes) {
      int end = (int) byteOffset + source.remaining();
      source.get(bytes, (int) byteOffset, source.remaining());
      for (int i = (int) byteOffset; i < end; i++) {
        counts[i]++;
      }
    }
  }

  @Override
  public void commit() {
    writes.forEach(
        (tensor, counts) -> {
          for (int i = 0; i < counts.length; i++) {
            if (counts[i] != 1) {
              fail(counts[i] + " writes of byte " + i + " of " + tensor);
            }
          }
        });
    committed = true;
  }

  @Override
  public void close() {
    assertTrue(!tensors.isEmpty() || writes.isEmpty());
    closed = true;
  }
}
