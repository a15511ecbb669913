package dev.sinew.fuzz;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the fuzzers of readers have in common: a file to put the input in, and what must hold. */
final class FuzzFile {
  private static final int END_BYTES = 64;

  private FuzzFile() {}

  static Path create(String name) {
    try {
      Path file = Files.createTempFile("sinew-fuzz-" + name, ".bin");
      file.toFile().deleteOnExit();
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Replaces the content of the file; an error here is none of the reader's. */
  static void write(Path file, byte[] content) {
    try {
      Files.write(file, content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Reads the first and the last bytes of a tensor. */
  static void readEnds(Checkpoint checkpoint, TensorInfo tensor) throws IOException {
    int size = (int) Math.min(tensor.bytes(), END_BYTES);
    checkpoint.read(tensor.name(), 0, ByteBuffer.allocate(size));
    checkpoint.read(tensor.name(), tensor.bytes() - size, ByteBuffer.allocate(size));
  }

  /** A message for users: one line of bounded length, without control characters. */
  static void requireSentence(IOException e) {
    String message = e.getMessage();
    if (message == null
        || message.length() > 2000
        || message.chars().anyMatch(Character::isISOControl)) {
      throw new AssertionError("not one sentence: " + message, e);
    }
  }
}
