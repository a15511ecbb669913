package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ShortBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class DemoCommandTest extends CommandLineTest {
  private static final DemoModel SMALL = new DemoModel(2, 400, 96, 32, 50);

  @Test
  void theModelHasLlamasNamesAndShapes() throws IOException {
    SMALL.write(path("m"));
    Map<String, TestCheckpoint.Stored> tensors = TestCheckpoint.read(path("m"));
    assertEquals(2 * 9 + 3, tensors.size());
    assertEquals(List.of(96L, 400L), tensors.get("model.layers.1.mlp.gate_proj.weight").shape());
    assertEquals(List.of(400L, 96L), tensors.get("model.layers.0.mlp.down_proj.weight").shape());
    assertEquals(List.of(50L, 400L), tensors.get("lm_head.weight").shape());
    tensors.values().forEach(tensor -> assertEquals("BF16", tensor.dtype()));
    long bytes = DemoModel.DEFAULT.tensors().stream().mapToLong(t -> t.bytes()).sum();
    assertTrue(bytes > 200 << 20 && bytes < 300 << 20, bytes + " bytes");
  }

  @Test
  void theWeightsHaveOutliersAndAreAlwaysTheSame() throws IOException {
    SMALL.write(path("m"));
    SMALL.write(path("n"));
    assertArrayEquals(Files.readAllBytes(path("m")), Files.readAllBytes(path("n")));
    ShortBuffer q =
        TestCheckpoint.read(path("m"))
            .get("model.layers.0.self_attn.q_proj.weight")
            .buffer()
            .asShortBuffer();
    double[] spread = new double[400];
    double kurtosis = 0;
    for (int row = 0; row < 400; row++) {
      double squares = 0;
      double fourths = 0;
      for (int col = 0; col < 400; col++) {
        double w = Float.intBitsToFloat(q.get(row * 400 + col) << 16);
        squares += w * w;
        fourths += w * w * w * w;
      }
      spread[row] = Math.sqrt(squares / 400);
      kurtosis += fourths * 400 / (squares * squares) / 400;
    }
    Arrays.sort(spread);
    double median = spread[200];
    assertTrue(median > 0.015 && median < 0.04, "median spread " + median);
    assertTrue(spread[399] > 4 * median, "greatest spread " + spread[399]);
    // Normal weights have 3, and sums of four uniform ones a little less.
    assertTrue(kurtosis > 3.2, "kurtosis " + kurtosis);
  }

  @Test
  void theDemonstrationChecksItsResults() throws IOException {
    Path keep = path("keep");
    // Of all layers, without --keep: see the end-to-end tests.
    Result result = run("demo", "--layers", "1", "--keep", keep, "--threads", "2");
    assertEquals(0, result.status(), result.err());
    assertEquals(
        List.of(
            "int4.safetensors",
            "int8.safetensors",
            "model.safetensors",
            "pruned-2-4.safetensors",
            "pruned-int8.safetensors",
            "pruned.safetensors"),
        files(keep));
    assertTrue(result.out().contains("int4, groups of 128"), result.out());
    run("demo", "--keep", keep).failed(1, "is not an empty folder");
  }
}
