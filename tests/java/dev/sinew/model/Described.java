package dev.sinew.model;

import dev.sinew.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** Descriptions, and the data of shapes and indices; nothing else is ever read. */
final class Described implements Checkpoint {
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new HashMap<>();
  private final Map<String, long[]> numbers = new HashMap<>();

  Described add(String name, DType dtype, long... shape) {
    tensors.put(name, TensorInfo.of(name, dtype, shape));
    return this;
  }

  Described shape(String name, long... dimensions) {
    numbers.put(name, dimensions);
    return add(name, DType.I64, dimensions.length);
  }

  Described index(String name, long... groups) {
    numbers.put(name, groups);
    return add(name, DType.I32, groups.length);
  }

  Described group(String size) {
    metadata.put(QuantizedTensor.GROUP_KEY, size);
    return this;
  }

  @Override
  public Path path() {
    return Path.of("model.test");
  }

  @Override
  public String format() {
    return "test";
  }

  @Override
  public Map<String, TensorInfo> tensors() {
    return tensors;
  }

  @Override
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  public void read(String tensor, long byteOffset, ByteBuffer target) {
    TensorInfo info = tensors.get(tensor);
    ByteBuffer bytes = ByteBuffer.allocate((int) info.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (long number : numbers.get(tensor)) {
      if (info.dtype() == DType.I32) {
        bytes.putInt((int) number);
      } else {
        bytes.putLong(number);
      }
    }
    target.put(bytes.array(), (int) byteOffset, target.remaining());
  }

  @Override
  public Optional<FileRegion> region(String tensor) {
    return Optional.empty();
  }

  @Override
  public void close() {}
}
