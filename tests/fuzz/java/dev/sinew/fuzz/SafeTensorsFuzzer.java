package dev.sinew.fuzz;

import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Any bytes either open as safetensors, with every tensor inside the file, or are an IOException.
 */
public final class SafeTensorsFuzzer {
  private static final Path FILE = FuzzFile.create("safetensors");

  private SafeTensorsFuzzer() {}

  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(FILE, data);
    try (Checkpoint checkpoint = SafeTensors.open(FILE)) {
      long total = 0;
      for (TensorInfo tensor : checkpoint.tensors().values()) {
        FuzzFile.readEnds(checkpoint, tensor);
        total += tensor.bytes();
      }
      if (total >= data.length) {
        throw new AssertionError(
            "tensors of " + total + " bytes in a file of " + data.length + " bytes");
      }
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
    }
  }
}
