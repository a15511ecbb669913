package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class InspectCommandTest extends CommandLineTest {
  @Test
  void statisticsAreThoseOfPlainJava() throws IOException {
    // More than one piece, and a last one of few elements.
    float[] values = TestCheckpoint.weights(7, TensorReader.PIECE + 3);
    values[5] = 0;
    values[6] = -0.0f;
    values[17] = Float.NaN;
    values[18] = Float.POSITIVE_INFINITY;
    values[TensorReader.PIECE] = Float.NEGATIVE_INFINITY;
    values[TensorReader.PIECE + 2] = -0.5f;
    Path file =
        new TestCheckpoint()
            .metadata("format", "pt")
            .floats("w", values, values.length)
            .longs("n", -3, 0, 5)
            .write(path("m"));

    Map<String, Object> json = run("inspect", file, "--json").ok().json();

    assertEquals("[file, format, metadata, elements, bytes, tensors]", json.keySet().toString());
    assertEquals(file.toString(), json.get("file"));
    assertEquals("safetensors", json.get("format"));
    assertEquals(Map.of("format", "pt"), json.get("metadata"));
    assertEquals(values.length + 3L, json.get("elements"));
    assertEquals(4L * values.length + 24, json.get("bytes"));
    double max = 0;
    double sum = 0;
    for (float value : values) {
      if (Float.isFinite(value)) {
        max = Math.max(max, value);
        sum += value;
      }
    }
    Map<String, Object> w = JsonText.named(json, "tensors", "w");
    assertEquals(
        "[name, dtype, shape, elements, bytes, storage, min, max, absmax, mean, sparsity, zero_count,"
            + " nan_count, infinity_count]",
        w.keySet().toString());
    assertEquals("F32", w.get("dtype"));
    assertEquals(List.of((long) values.length), w.get("shape"));
    assertEquals(-0.5, w.get("min"));
    assertEquals(max, w.get("max"));
    assertEquals(0.5, w.get("absmax"));
    assertEquals(sum / (values.length - 3), (Double) w.get("mean"), 1e-12);
    assertEquals(2L, w.get("zero_count"));
    assertEquals(2.0 / values.length, w.get("sparsity"));
    assertEquals(1L, w.get("nan_count"));
    assertEquals(2L, w.get("infinity_count"));
    Map<String, Object> n = JsonText.named(json, "tensors", "n");
    assertEquals(-3.0, n.get("min"));
    assertEquals(5.0, n.get("absmax"));
    assertEquals(2.0 / 3, (Double) n.get("mean"), 1e-15);
  }

  @Test
  void whatHasNoNumberIsNull() throws IOException {
    float nan = Float.NaN;
    Path file =
        new TestCheckpoint()
            .floats("nothing", new float[0], 0, 4)
            .floats("nan", new float[] {nan, nan}, 2)
            .floats("infinite", new float[] {Float.NEGATIVE_INFINITY}, 1)
            .floats("scalar", new float[] {2.5f})
            .add("f8", "F8_E5M2", new byte[3], 3)
            .add("e4m3", "F8_E4M3", new byte[] {0x7f, 0x38, (byte) 0xfe, 0}, 4)
            .add("u64", "U64", new byte[16], 2)
            .add("flags", "BOOL", new byte[] {1, 0, 1, 1}, 4)
            .write(path("m"));

    Map<String, Object> json = run("inspect", "--json", file).ok().json();

    for (String name : List.of("nothing", "nan", "infinite", "f8", "u64")) {
      Map<String, Object> tensor = JsonText.named(json, "tensors", name);
      for (String field : List.of("min", "max", "absmax", "mean")) {
        assertNull(tensor.get(field), name + " " + field);
      }
    }
    assertNull(JsonText.named(json, "tensors", "nothing").get("sparsity"));
    assertEquals(2L, JsonText.named(json, "tensors", "nan").get("nan_count"));
    assertEquals(1L, JsonText.named(json, "tensors", "infinite").get("infinity_count"));
    assertNull(JsonText.named(json, "tensors", "f8").get("zero_count"));
    assertEquals(3L, JsonText.named(json, "tensors", "f8").get("bytes"));
    Map<String, Object> e4m3 = JsonText.named(json, "tensors", "e4m3");
    assertEquals(-448.0, e4m3.get("min"));
    assertEquals(1.0, e4m3.get("max"));
    assertEquals(1L, e4m3.get("zero_count"));
    assertEquals(1L, e4m3.get("nan_count"));
    Map<String, Object> scalar = JsonText.named(json, "tensors", "scalar");
    assertEquals(List.of(), scalar.get("shape"));
    assertEquals(2.5, scalar.get("mean"));
    assertEquals(0.75, JsonText.named(json, "tensors", "flags").get("mean"));

    String table = run("inspect", file).ok().out();
    assertEquals(10, table.lines().count(), table);
    assertEquals(1, table.split("NaN", -1).length - 1, "only the title says NaN: " + table);
  }

  @Test
  void namesCannotControlTheTerminal() throws IOException {
    Path file =
        new TestCheckpoint()
            .metadata("k\033[2J", "v\nline" + "x".repeat(100_000))
            .floats("w\033]0;x\007\n\u009b2J\u202e", new float[] {1}, 1)
            .write(path("m"));
    String printed = runOnTerminal("inspect", file).ok().out();
    assertFalse(printed.matches("(?s).*[\\p{Cf}\\p{Cc}&&[^\n]].*"), printed);
    assertEquals(4, printed.lines().count(), printed);
    assertTrue(printed.length() < 2000, "metadata of any length stays readable");
    Map<String, Object> json = run("inspect", "--json", file).ok().json();
    assertEquals(
        "w\033]0;x\007\n\u009b2J\u202e", JsonText.list(json, "tensors").get(0).get("name"));
    String text = run("inspect", "--json", file).out();
    assertFalse(text.matches("(?s).*[\\p{Cf}\\p{Cc}&&[^\n]].*"), text);
  }

  @Test
  void aTerminalGetsHistograms() throws IOException {
    float[] values = new float[17];
    for (int i = 0; i < values.length; i++) {
      values[i] = i < 9 ? 0 : 1;
    }
    Path file =
        new TestCheckpoint()
            .floats("w", values, 17)
            .floats("constant", new float[] {3, 3}, 2)
            .longs("n", 1, 2)
            .write(path("m"));
    String printed = runOnTerminal("inspect", file).ok().out();
    String row = printed.lines().filter(line -> line.startsWith("w ")).findAny().orElseThrow();
    assertTrue(row.endsWith("\u2588" + " ".repeat(14) + "\u2588"), row);
    assertEquals(2, printed.chars().filter(c -> c == '\u2588').count(), printed);
    assertEquals(0, run("inspect", file).ok().out().chars().filter(c -> c == '\u2588').count());
  }

  @Test
  void blocksAreAsHighAsTheirShare() {
    assertEquals(" \u2581\u2584\u2588", InspectCommand.blocks(new long[] {0, 1, 50, 100}));
    assertEquals("  ", InspectCommand.blocks(new long[] {0, 0}));
  }

  @Test
  void readsPyTorchFiles() {
    Path file = Path.of(System.getProperty("sinew.data", "none"), "mnist", "cnn.pt");
    Assumptions.assumeTrue(Files.exists(file), "skipped: " + file + " is not there");
    Map<String, Object> json = run("inspect", "--json", file).ok().json();
    assertEquals(20, JsonText.list(json, "tensors").size());
    assertEquals(List.of(32L, 11616L), JsonText.named(json, "tensors", "fc1.weight").get("shape"));
  }

  @Test
  void brokenFilesAreRefused() throws IOException {
    Files.write(path("short"), new byte[] {1, 2, 3});
    run("inspect", path("short")).failed(1, "short");
    run("inspect", folder).failed(1);
    run("inspect", "--json", path("none")).failed(1, "none");
  }
}
