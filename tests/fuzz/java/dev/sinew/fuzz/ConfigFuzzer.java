package dev.sinew.fuzz;

import dev.sinew.io.ModelConfig;
import dev.sinew.io.ModelFolder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Any bytes as the config.json of a model either are an IOException, or can be written with another
 * quantization_config and without one, and are read again as what they were.
 */
public final class ConfigFuzzer {
  private static final Path FOLDER = folder();
  private static final Path CONFIG = FOLDER.resolve(ModelConfig.FILE_NAME);

  private ConfigFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(CONFIG, data);
    ModelConfig config;
    try {
      config = read();
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
      return;
    }
    byte[] plain = config.withoutQuantization();
    FuzzFile.write(CONFIG, config.withQuantization("{\n  \"quant_method\": \"x\"\n}"));
    ModelConfig quantized = read();
    if (!quantized.isQuantized()
        || !quantized.quantMethod().orElse("").equals("x")
        || !quantized.architecture().equals(config.architecture())
        || !quantized.dtype().equals(config.dtype())) {
      throw new AssertionError("another configuration is read than was written");
    }
    FuzzFile.write(CONFIG, plain);
    ModelConfig without = read();
    if (without.isQuantized() || !without.modelType().equals(config.modelType())) {
      throw new AssertionError("the quantization was not taken out, or more than it");
    }
  }

  private static ModelConfig read() throws IOException {
    try (ModelFolder model = ModelFolder.open(FOLDER)) {
      return model.config().orElseThrow();
    }
  }

  private static Path folder() {
    try {
      Path folder = Files.createTempDirectory("sinew-fuzz-config");
      byte[] header = "{}".getBytes(StandardCharsets.UTF_8);
      ByteBuffer bytes = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
      Path weights = folder.resolve("model.safetensors");
      Files.write(weights, bytes.putLong(header.length).put(header).array());
      folder.toFile().deleteOnExit();
      weights.toFile().deleteOnExit();
      folder.resolve(ModelConfig.FILE_NAME).toFile().deleteOnExit();
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
