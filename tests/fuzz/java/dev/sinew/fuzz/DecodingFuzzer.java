package dev.sinew.fuzz;

import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Whatever tensors of a safetensors file say of each other (scales, zero points, shapes, packed
 * words, codebooks, bitmaps, row offsets), they are decoded or are an IOException.
 */
public final class DecodingFuzzer {
  private static final int WHOLE_BYTES = 1 << 16;
  private static final Path FILE = FuzzFile.create("decoding");

  private DecodingFuzzer() {}

  /**
   * Loads classes and the native library. On a busy machine that takes longer than an input may, so
   * it must not count as the first one's time.
   */
  public static void fuzzerInitialize() throws IOException {
    String header =
        "{\"w\":{\"dtype\":\"I8\",\"shape\":[1,1],\"data_offsets\":[0,1]},"
            + "\"w_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}";
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer file = ByteBuffer.allocate(8 + text.length + 5).order(ByteOrder.LITTLE_ENDIAN);
    fuzzerTestOneInput(file.putLong(text.length).put(text).array());
  }

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(FILE, data);
    try (Checkpoint stored = SafeTensors.open(FILE)) {
      Checkpoint view = Decoding.view(stored);
      for (TensorInfo tensor : view.tensors().values()) {
        FuzzFile.readEnds(view, tensor);
        if (tensor.bytes() <= WHOLE_BYTES) {
          view.read(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
        }
      }
      Checkpoint typed = Decoding.view(stored, null);
      for (TensorInfo tensor : typed.tensors().values()) {
        FuzzFile.readEnds(typed, tensor);
      }
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
    }
  }
}
