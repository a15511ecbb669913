package dev.sinew.fuzz;

import dev.sinew.io.PyTorchCheckpoint;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/** Opens any bytes as a PyTorch archive; a checkpoint or an IOException are the only outcomes. */
public final class PyTorchFuzzer {
  private static final int PART = 64;
  private static final int MAX_TENSORS = 1000;
  private static final Path FILE = temporaryFile();

  private PyTorchFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) {
    read(data);
  }

  /** Opens the bytes as a file and reads both ends of its tensors. */
  static void read(byte[] data) {
    try {
      Files.write(FILE, data);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(FILE)) {
      checkpoint.tensors().values().stream()
          .limit(MAX_TENSORS)
          .forEach(tensor -> readEnds(checkpoint, tensor));
    } catch (IOException refused) {
      // A sentence about a damaged file is a good outcome.
    }
  }

  private static void readEnds(Checkpoint checkpoint, TensorInfo tensor) {
    int part = (int) Math.min(PART, tensor.bytes());
    try {
      checkpoint.read(tensor.name(), 0, ByteBuffer.allocate(part));
      checkpoint.read(tensor.name(), tensor.bytes() - part, ByteBuffer.allocate(part));
      checkpoint.region(tensor.name());
    } catch (IOException e) {
      throw new AssertionError("what could be opened cannot be read", e);
    }
  }

  private static Path temporaryFile() {
    try {
      Path file = Files.createTempFile("sinew-fuzz-", ".pt");
      file.toFile().deleteOnExit();
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
