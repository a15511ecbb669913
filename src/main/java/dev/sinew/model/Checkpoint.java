package dev.sinew.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * A file of named tensors, opened for reading. Opening reads names, types and shapes; data is read
 * on demand.
 *
 * <p>Safe for use by many threads. Reading after {@link #close} is an {@link IOException}.
 */
public interface Checkpoint extends AutoCloseable {
  /**
   * A region of a file that holds exactly one tensor's data, contiguous, row-major and
   * little-endian.
   */
  record FileRegion(Path file, long offset, long bytes) {}

  /** The file or folder this was opened from. */
  Path path();

  /** The format in words, for example {@code safetensors}. */
  String format();

  /** The tensors by name, in the order of the file; unmodifiable. */
  Map<String, TensorInfo> tensors();

  /** The file's own string metadata; empty when the format has none; unmodifiable. */
  Map<String, String> metadata();

  /**
   * Reads data of a tensor, little-endian and row-major, from {@code byteOffset} on until {@code
   * target} is full.
   *
   * @throws IllegalArgumentException if the tensor is not in this checkpoint or the range lies
   *     outside it
   * @throws IOException one sentence that names the file and the tensor, for example when the file
   *     has become shorter
   */
  void read(String tensor, long byteOffset, ByteBuffer target) throws IOException;

  /**
   * Where the data of a tensor lies in one piece, so that it can be mapped; empty if it has to be
   * assembled.
   *
   * <p>{@link dev.sinew.Tensor#map} takes the region's file and offset if the offset is a multiple
   * of the element size. Formats do not promise that: a safetensors file whose header is not
   * padded, or with tensors of several types in an unlucky order, has tensors that can only be
   * {@link #read}.
   *
   * @throws IllegalArgumentException if the tensor is not in this checkpoint
   */
  Optional<FileRegion> region(String tensor);

  @Override
  void close() throws IOException;
}
