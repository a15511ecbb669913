package dev.sinew.fuzz;

import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.file.Path;

/** Any bytes either open as one of the formats, or are an IOException that says what they are. */
public final class FormatFuzzer {
  private static final Path FILE = FuzzFile.create("format");

  private FormatFuzzer() {}

  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(FILE, data);
    try (Checkpoint checkpoint = CheckpointFormat.open(FILE)) {
      for (TensorInfo tensor : checkpoint.tensors().values()) {
        FuzzFile.readEnds(checkpoint, tensor);
      }
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
    }
  }
}
