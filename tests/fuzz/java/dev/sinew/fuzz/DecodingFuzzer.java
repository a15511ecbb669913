package dev.sinew.fuzz;

import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Whatever tensors of a safetensors file say of each other (scales, shapes, bitmaps, row offsets),
 * they are decoded or are an IOException.
 */
public final class DecodingFuzzer {
  private static final Path FILE = FuzzFile.create("decoding");

  private DecodingFuzzer() {}

  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(FILE, data);
    try (Checkpoint stored = SafeTensors.open(FILE)) {
      Checkpoint view = Decoding.view(stored);
      for (TensorInfo tensor : view.tensors().values()) {
        FuzzFile.readEnds(view, tensor);
      }
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
    }
  }
}
