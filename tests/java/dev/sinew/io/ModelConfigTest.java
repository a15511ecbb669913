package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.cli.TestCheckpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is read of a config.json, that all else of it stays, and files made to do harm. */
@Timeout(60)
class ModelConfigTest {
  @TempDir Path work;
  private Path folder;
  private Path file;

  @BeforeEach
  void model() throws IOException {
    folder = Files.createDirectory(work.resolve("model"));
    file = folder.resolve("config.json");
    new TestCheckpoint().floats("t", new float[] {1}, 1).write(folder.resolve("model.safetensors"));
  }

  private ModelConfig config() throws IOException {
    try (ModelFolder model = ModelFolder.open(folder)) {
      return model.config().orElseThrow();
    }
  }

  private ModelConfig config(String text) throws IOException {
    Files.writeString(file, text);
    return config();
  }

  private void refused(String... parts) {
    String message =
        assertTimeoutPreemptively(
            Duration.ofSeconds(20),
            () -> assertThrows(CheckpointException.class, this::config).getMessage());
    assertTrue(message.contains("'" + folder), message);
    for (String part : parts) {
      assertTrue(message.contains(part), message + "\nlacks: " + part);
    }
    assertFalse(message.chars().anyMatch(Character::isISOControl), message);
    assertFalse(message.endsWith("."), message);
    assertTrue(message.length() < 1000, message);
  }

  @Test
  void whatIsRead() throws IOException {
    ModelConfig config =
        config(
            "{\"architectures\": [\"LlamaForCausalLM\", \"Other\"], \"model_type\": \"llama\","
                + " \"torch_dtype\": \"bfloat16\", \"limit\": -Infinity, \"x\": {\"y\": [NaN]}}");
    assertEquals(Optional.of("LlamaForCausalLM"), config.architecture());
    assertEquals(Optional.of("llama"), config.modelType());
    assertEquals(Optional.of(DType.BF16), config.dtype());
    assertFalse(config.isQuantized());
    assertEquals(file, config.path());
    config = config("{}");
    assertEquals(Optional.empty(), config.architecture());
    assertEquals(Optional.empty(), config.modelType());
    assertEquals(Optional.empty(), config.dtype());
    config = config("{\"architectures\": null, \"dtype\": {\"text\": 1}, \"model_type\": 7}");
    assertEquals(Optional.empty(), config.architecture());
    assertEquals(Optional.empty(), config.modelType());
    Files.delete(file);
    try (ModelFolder model = ModelFolder.open(folder)) {
      assertEquals(Optional.empty(), model.config());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "float32,F32",
    "torch.float16,F16",
    "half,F16",
    "bfloat16,BF16",
    "float64,",
    "auto,",
    "int8,"
  })
  void types(String name, DType expected) throws IOException {
    assertEquals(
        Optional.ofNullable(expected), config("{\"torch_dtype\": \"" + name + "\"}").dtype());
    assertEquals(
        Optional.of(DType.F16),
        config("{\"torch_dtype\": \"" + name + "\", \"dtype\": \"float16\"}").dtype());
  }

  @Test
  void quantizedAlready() throws IOException {
    ModelConfig config =
        config("{\"quantization_config\": {\"a\": [{}], \"quant_method\": \"gptq\"}}");
    assertTrue(config.isQuantized());
    assertEquals(Optional.of("gptq"), config.quantMethod());
    assertTrue(config("{\"compression_config\": {}}").isQuantized());
    assertTrue(config("{\"quantization_config\": 7}").isQuantized());
    assertFalse(config("{\"quantization_config\": null}").isQuantized());
  }

  /** Everything else stays, to the character, wherever the member was. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{}|{}",
        "{ }|{ }",
        "{\"quantization_config\": {\"a\": \"},{\"}}|{}",
        "{ \"quantization_config\" : null , \"a\": 1 }|{ \"a\": 1 }",
        "{\"a\": \"\\\\\\\"\", \"quantization_config\": {\"b\": [1, {\"c\": 2}]}}|{\"a\":"
            + " \"\\\\\\\"\"}",
        "{\"a\": [1, 2], \"quantization_config\": [], \"b\": {}}|{\"a\": [1, 2], \"b\": {}}",
        "{\"compression_config\": 1, \"quantization_config\": 2, \"b\": 1.0e-05}|{\"b\":"
            + " 1.0e-05}",
        "{\"a\": 1, \"compression_config\": 1, \"quantization_config\": 2}|{\"a\": 1}",
        "{\"quantization\\u005fconfig\": {}, \"n\": 123456789012345678901234567890}|{\"n\":"
            + " 123456789012345678901234567890}",
        "{\"naïve\": \"é\\ud800\", \"limit\": -Infinity, \"not\": NaN}|{\"naïve\": \"é\\ud800\","
            + " \"limit\": -Infinity, \"not\": NaN}"
      })
  void everythingElseStays(String text, String plain) throws IOException {
    ModelConfig config = config(text);
    assertEquals(plain, new String(config.withoutQuantization(), StandardCharsets.UTF_8));
    String with = new String(config.withQuantization("{\n  \"q\": 1\n}\n"), StandardCharsets.UTF_8);
    String inside = plain.substring(0, plain.length() - 1).stripTrailing();
    String expected =
        inside
            + (inside.equals("{") ? "" : ",")
            + "\n  \"quantization_config\": {\n    \"q\": 1\n  }\n}";
    assertEquals(expected, with);
    ModelConfig again = config(with);
    assertTrue(again.isQuantized());
    String back = new String(again.withoutQuantization(), StandardCharsets.UTF_8);
    assertEquals(inside + "}", back.replaceFirst("\\n}$|\\n {2}\\n}$", "}"));
  }

  @Test
  void linesOfAFileOfPython() throws IOException {
    String text = "{\n  \"a\": 1,\n  \"b\": [\n    2\n  ]\n}\n";
    ModelConfig config = config(text);
    String with = new String(config.withQuantization("{\n  \"q\": 1\n}"), StandardCharsets.UTF_8);
    assertEquals(
        "{\n  \"a\": 1,\n  \"b\": [\n    2\n  ],\n  \"quantization_config\": {\n    \"q\": 1\n"
            + "  }\n}\n",
        with);
    assertEquals(
        text, new String(config(with).withoutQuantization(), StandardCharsets.UTF_8), "back");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "7",
        "null",
        "{",
        "{} {}",
        "{\"a\": 1, \"a\": 2}",
        "{\"a\": 1,}",
        "{'a': 1}",
        "{\"architectures\": \"Llama\"}",
        "{\"architectures\": [1]}",
        "{\"architectures\": [[\"Llama\"]]}",
        "\ufeff{}"
      })
  void noConfiguration(String text) throws IOException {
    Files.writeString(file, text);
    refused("'" + file + "' is no valid configuration of a model: ");
  }

  @Test
  void bytesThatAreNoText() throws IOException {
    Files.write(file, new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'});
    refused("its text is not valid UTF-8");
    Files.write(file, "{\"a\": 1}".getBytes(StandardCharsets.UTF_16LE));
    refused("is not valid JSON");
  }

  @Test
  void sizes() throws IOException {
    Files.writeString(file, "{\"a\": " + "[".repeat(500) + "]".repeat(500) + "}");
    refused("nests too deeply");
    Files.writeString(file, "{\"a\": " + "1".repeat(5000) + "}");
    refused("a number of too many digits");
    Files.writeString(file, "{\"architectures\": [" + "\"a\",".repeat(100) + "\"a\"]}");
    refused("its architectures are not a list of names");
    StringBuilder many = new StringBuilder("{\"a\": 1");
    for (int i = 0; i < 300_000; i++) {
      many.append(",\"k").append(i).append("\": 1");
    }
    assertFalse(config(many + "}").isQuantized());
    try (RandomAccessFile large = new RandomAccessFile(file.toFile(), "rw")) {
      large.setLength(1L << 40);
    }
    refused("it has 1099511627776 bytes, more than any configuration");
  }

  @Test
  void notAFileOfTheFolder() throws Exception {
    Path outside = Files.writeString(work.resolve("outside.json"), "{}");
    Files.createSymbolicLink(file, outside);
    refused("is a symbolic link that leads out of its folder");
    Files.delete(file);
    Files.createSymbolicLink(file, Path.of("gone"));
    refused("No such file");
    Files.delete(file);
    Files.createDirectory(file);
    refused("it is a folder");
    Files.delete(file);
    assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    refused("it is a pipe");
    Files.delete(file);
    Files.writeString(folder.resolve("inside.json"), "{\"model_type\": \"bert\"}");
    Files.createSymbolicLink(file, Path.of("inside.json"));
    assertEquals(Optional.of("bert"), config().modelType());
  }
}
