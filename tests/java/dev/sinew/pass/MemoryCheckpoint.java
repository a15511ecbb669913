package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;

/** A checkpoint held in memory, which counts what is read and can be made to fail. */
public final class MemoryCheckpoint implements Checkpoint {
  /** Called before every read. */
  public interface ReadHook {
    void before(String tensor, long byteOffset, int bytes) throws IOException;
  }

  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, byte[]> data = new HashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();
  final AtomicLong bytesRead = new AtomicLong();
  final AtomicLong reads = new AtomicLong();
  volatile ReadHook hook = (tensor, offset, bytes) -> {};
  volatile boolean closed;
  private Path path = Path.of("folder", "model.test");

  public MemoryCheckpoint add(TensorInfo info, byte[] bytes) {
    if (bytes.length != info.bytes()) {
      throw new IllegalArgumentException(info + " has not " + bytes.length + " bytes");
    }
    tensors.put(info.name(), info);
    data.put(info.name(), bytes);
    return this;
  }

  public MemoryCheckpoint add(String name, DType dtype, double[] values, long... shape) {
    return add(TensorInfo.of(name, dtype, shape), Numbers.encode(dtype, values));
  }

  public MemoryCheckpoint at(String file) {
    path = Path.of(file);
    return this;
  }

  MemoryCheckpoint meta(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  public void hook(ReadHook before) {
    hook = before;
  }

  public byte[] bytes(String tensor) {
    return data.get(tensor);
  }

  @Override
  public Path path() {
    return path;
  }

  @Override
  public String format() {
    return "memory";
  }

  @Override
  public Map<String, TensorInfo> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  @Override
  public void read(String tensor, long byteOffset, ByteBuffer target) throws IOException {
    if (closed) {
      throw new IOException("the checkpoint is closed");
    }
    byte[] bytes = data.get(tensor);
    if (bytes == null || byteOffset < 0 || byteOffset > bytes.length - target.remaining()) {
      throw new IllegalArgumentException("no such range of " + tensor);
    }
    hook.before(tensor, byteOffset, target.remaining());
    reads.incrementAndGet();
    bytesRead.addAndGet(target.remaining());
    target.put(bytes, (int) byteOffset, target.remaining());
  }

  @Override
  public Optional<FileRegion> region(String tensor) {
    return Optional.of(new FileRegion(path(), 0, tensors.get(tensor).bytes()));
  }

  @Override
  public void close() {
    closed = true;
  }
}
