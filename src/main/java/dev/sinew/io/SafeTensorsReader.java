package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** An open safetensors file; nothing of the data is kept in memory. */
final class SafeTensorsReader implements Checkpoint {
  private final InputFile file;
  private final SafeTensorsHeader header;

  SafeTensorsReader(InputFile file, SafeTensorsHeader header) {
    this.file = file;
    this.header = header;
  }

  @Override
  public Path path() {
    return file.path();
  }

  @Override
  public String format() {
    return "safetensors";
  }

  @Override
  public Map<String, TensorInfo> tensors() {
    return header.tensors();
  }

  @Override
  public Map<String, String> metadata() {
    return header.metadata();
  }

  @Override
  public void read(String tensor, long byteOffset, ByteBuffer target) throws CheckpointException {
    TensorInfo info = require(tensor);
    info.requireRange(byteOffset, target.remaining());
    file.read(
        header.offsets().get(tensor) + byteOffset, target, "tensor " + Messages.quote(tensor));
  }

  @Override
  public Optional<FileRegion> region(String tensor) {
    TensorInfo info = require(tensor);
    return Optional.of(new FileRegion(path(), header.offsets().get(tensor), info.bytes()));
  }

  @Override
  public void close() throws CheckpointException {
    file.close();
  }

  private TensorInfo require(String tensor) {
    TensorInfo info = header.tensors().get(tensor);
    if (info == null) {
      throw new IllegalArgumentException(
          Messages.quote(path()) + " has no tensor " + Messages.quote(tensor));
    }
    return info;
  }
}
