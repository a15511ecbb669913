package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class CompareCommandTest extends CommandLineTest {
  private static void assertMatchesJava(float[] a, float[] b, Map<String, Object> found) {
    double most = 0;
    double noise = 0;
    double signal = 0;
    double signalB = 0;
    double product = 0;
    for (int i = 0; i < a.length; i++) {
      double error = (double) a[i] - b[i];
      most = Math.max(most, Math.abs(error));
      noise += error * error;
      signal += (double) a[i] * a[i];
      signalB += (double) b[i] * b[i];
      product += (double) a[i] * b[i];
    }
    // The kernel takes differences in F32.
    assertEquals(most, (Double) found.get("max_abs_error"), 1e-7 * most);
    assertEquals(10 * Math.log10(signal / noise), (Double) found.get("snr_db"), 1e-6);
    assertEquals(product / Math.sqrt(signal * signalB), (Double) found.get("cosine"), 1e-12);
  }

  @Test
  void errorsAreThoseOfPlainJava() throws IOException {
    float[] a = TestCheckpoint.weights(1, TensorReader.PIECE + 5);
    float[] b = a.clone();
    for (int i = 0; i < b.length; i += 3) {
      b[i] *= 0.9f;
    }
    b[b.length - 1] += 0.25f;
    Path fileA = new TestCheckpoint().floats("w", a, a.length).write(path("a"));
    Path fileB = new TestCheckpoint().floats("w", b, b.length).write(path("b"));

    Map<String, Object> json = run("compare", fileA, fileB, "--json").ok().json();

    assertEquals(
        "[a, b, comparable, tensors, total, different, only_in_a, only_in_b]",
        json.keySet().toString());
    Map<String, Object> w = JsonText.named(json, "tensors", "w");
    assertEquals(
        "[name, shape, dtype_a, dtype_b, equal, max_abs_error, snr_db, cosine, not_finite_a,"
            + " not_finite_b]",
        w.keySet().toString());
    assertEquals(false, w.get("equal"));
    assertMatchesJava(a, b, w);
  }

  @Test
  void quantizedTensorsAreDequantized() throws IOException {
    Path original = TestCheckpoint.model().write(path("a"));
    for (String[] how :
        new String[][] {
          {"int8", "tensor"}, {"int8", "channel"}, {"int4", "channel"}, {"int4", "group=4"}
        }) {
      Path small = path("b-" + how[0] + how[1].charAt(0));
      run("optimize", original, small, "--quantize", how[0], "--granularity", how[1]).ok();
      Map<String, Object> json = run("compare", original, small, "--json").ok().json();
      assertEquals(true, json.get("comparable"));
      assertEquals(6, JsonText.list(json, "tensors").size());
      assertEquals(true, JsonText.named(json, "tensors", "steps").get("equal"));

      Map<String, TestCheckpoint.Stored> stored = TestCheckpoint.read(small);
      byte[] q = stored.get("layer.0.weight").data();
      float[] scale = stored.get("layer.0.weight_scale").floats();
      float[] b = new float[33 * 7];
      for (int i = 0; i < b.length; i++) {
        int row = i / 7;
        int col = i % 7;
        int value = how[0].equals("int8") ? q[i] : (q[row * 4 + col / 2] >> (col % 2 * 4) & 15) - 8;
        int slice =
            switch (how[1]) {
              case "tensor" -> 0;
              case "channel" -> row;
              default -> row * 2 + col / 4;
            };
        b[i] = value * scale[slice];
      }
      assertMatchesJava(
          TestCheckpoint.read(original).get("layer.0.weight").floats(),
          b,
          JsonText.named(json, "tensors", "layer.0.weight"));
    }
  }

  @Test
  void equalCheckpointsAreExact() throws IOException {
    Path file = TestCheckpoint.model().write(path("a"));
    Map<String, Object> json = run("compare", file, file, "--json").ok().json();
    for (Map<String, Object> tensor : JsonText.list(json, "tensors")) {
      assertEquals(true, tensor.get("equal"));
      assertNull(tensor.get("snr_db"));
    }
    assertEquals(0.0, JsonText.named(json, "tensors", "layer.0.bias").get("max_abs_error"));
    assertNull(JsonText.named(json, "tensors", "steps").get("max_abs_error"));
    String table = run("compare", file, file).ok().out();
    assertEquals(7, table.lines().filter(line -> line.contains("exact")).count(), table);
  }

  @Test
  void floatingTypesMayDiffer() throws IOException {
    ByteBuffer half = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    half.putShort((short) 0x3f80).putShort((short) 0xc000); // 1 and -2 as BF16
    Path a = new TestCheckpoint().floats("w", new float[] {1, -2.5f}, 2).write(path("a"));
    Path b = new TestCheckpoint().add("w", "BF16", half.array(), 2).write(path("b"));
    Map<String, Object> w =
        JsonText.named(run("compare", a, b, "--json").ok().json(), "tensors", "w");
    assertEquals("BF16", w.get("dtype_b"));
    assertEquals(0.5, w.get("max_abs_error"));
  }

  @Test
  void differentTensorsAreStatus1() throws IOException {
    Path a =
        new TestCheckpoint()
            .floats("same", new float[] {1, 2}, 2)
            .floats("shape", new float[4], 2, 2)
            .floats("type", new float[2], 2)
            .floats("gone", new float[1], 1)
            .write(path("a"));
    Path b =
        new TestCheckpoint()
            .floats("same", new float[] {1, 3}, 2)
            .floats("shape", new float[4], 4)
            .longs("type", 1, 2)
            .floats("new", new float[1], 1)
            .write(path("b"));

    Result result = run("compare", a, b, "--json");

    result.failed(1, "1 in A only (gone)", "1 in B only (new)", "shape, type");
    Map<String, Object> json = result.json();
    assertEquals(false, json.get("comparable"));
    assertEquals(List.of("gone"), json.get("only_in_a"));
    assertEquals(List.of("new"), json.get("only_in_b"));
    Map<String, Object> shape = JsonText.named(json, "different", "shape");
    assertEquals(List.of(2L, 2L), shape.get("shape_a"));
    assertEquals(List.of(4L), shape.get("shape_b"));
    assertEquals("I64", JsonText.named(json, "different", "type").get("dtype_b"));
    assertEquals(1.0, JsonText.named(json, "tensors", "same").get("max_abs_error"));
    run("compare", a, b).failed(1, "do not hold the same tensors");
  }

  @Test
  void specialValues() throws IOException {
    float nan = Float.NaN;
    Path a =
        new TestCheckpoint()
            .floats("nan", new float[] {1, nan}, 2)
            .floats("zero", new float[] {0, 0}, 2)
            .floats("sign", new float[] {0, 1}, 2)
            .floats("none", new float[0], 0)
            .longs("n", 1, 2)
            .write(path("a"));
    Path b =
        new TestCheckpoint()
            .floats("nan", new float[] {1, 2}, 2)
            .floats("zero", new float[] {0, 1}, 2)
            .floats("sign", new float[] {-0.0f, 1}, 2)
            .floats("none", new float[0], 0)
            .longs("n", 1, 3)
            .write(path("b"));
    Map<String, Object> json = run("compare", a, b, "--json").ok().json();
    Map<String, Object> notANumber = JsonText.named(json, "tensors", "nan");
    assertEquals(false, notANumber.get("equal"));
    assertEquals(1L, notANumber.get("not_finite_a"));
    assertEquals(0L, notANumber.get("not_finite_b"));
    assertEquals(0.0, notANumber.get("max_abs_error"));
    Map<String, Object> zero = JsonText.named(json, "tensors", "zero");
    assertNull(zero.get("snr_db"));
    assertNull(zero.get("cosine"));
    assertEquals(1.0, zero.get("max_abs_error"));
    assertEquals(true, JsonText.named(json, "tensors", "sign").get("equal"));
    assertEquals(true, JsonText.named(json, "tensors", "none").get("equal"));
    assertEquals(false, JsonText.named(json, "tensors", "n").get("equal"));
    String table = run("compare", a, b).ok().out();
    assertTrue(table.contains("NaN or infinite: 1 in A, 0 in B"), table);
    assertTrue(table.contains("-inf"), table);
    assertTrue(table.lines().anyMatch(line -> line.startsWith("n ") && line.contains("differs")));
  }
}
