package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OptimizeCommandTest extends CommandLineTest {
  private Path in;
  private Path out;

  @BeforeEach
  void model() throws IOException {
    in = TestCheckpoint.model().write(path("in.safetensors"));
    out = path("out.safetensors");
  }

  @Test
  void prunesByThreshold() throws IOException {
    String printed = run("optimize", in, out, "--prune", "threshold=0.01").ok().out();

    Map<String, Stored> before = TestCheckpoint.read(in);
    Map<String, Stored> after = TestCheckpoint.read(out);
    assertEquals(before.keySet(), after.keySet());
    long zeros = 0;
    long weights = 0;
    for (String name : before.keySet()) {
      if (!List.of("layer.0.weight", "layer.1.weight").contains(name)) {
        assertArrayEquals(before.get(name).data(), after.get(name).data(), name);
        continue;
      }
      float[] expected = before.get(name).floats();
      for (int i = 0; i < expected.length; i++) {
        expected[i] = Math.abs(expected[i]) > 0.01f ? expected[i] : 0;
        zeros += expected[i] == 0 ? 1 : 0;
      }
      weights += expected.length;
      assertArrayEquals(expected, after.get(name).floats(), name);
    }
    assertTrue(zeros > 0 && zeros < weights);
    assertTrue(printed.contains("2 touched, 4 left"), printed);
    assertTrue(
        printed.contains(
            Text.fixed(100.0 * zeros / weights, 2) + "% of " + weights + " weights are zero"),
        printed);
    assertTrue(printed.contains("embedding (1): embed.weight"), printed);
    assertTrue(printed.contains("norm (1): norm.weight"), printed);
    Map<String, String> metadata = TestCheckpoint.readMetadata(out);
    assertEquals("test", metadata.get("origin"));
    assertEquals("--prune threshold=0.01", metadata.get("sinew.recipe"));
  }

  @Test
  void saysWhenScalesTakeMoreThanWasSaved() throws IOException {
    Path tiny = new TestCheckpoint().floats("a.weight", new float[] {1}, 1, 1).write(path("tiny"));
    String printed = run("optimize", tiny, path("larger"), "--quantize", "int4").ok().out();
    // A byte of nibbles, 4 of scale and 16 of shape for 4.
    assertTrue(printed.contains("4 B -> 21 B, 5.25 times larger"), printed);
  }

  @Test
  void quantizesPerChannel() throws IOException {
    run("optimize", in, out, "--quantize", "int8").ok();

    float[] weights = TestCheckpoint.read(in).get("layer.0.weight").floats();
    Map<String, Stored> after = TestCheckpoint.read(out);
    Stored quantized = after.get("layer.0.weight");
    Stored scale = after.get("layer.0.weight_scale");
    assertEquals("I8", quantized.dtype());
    assertEquals(List.of(33L, 1L), scale.shape());
    assertEquals(List.of(5L, 1L, 1L, 1L), after.get("layer.1.weight_scale").shape());
    for (int row = 0; row < 33; row++) {
      float absMax = 0;
      for (int col = 0; col < 7; col++) {
        absMax = Math.max(absMax, Math.abs(weights[row * 7 + col]));
      }
      float expected = (float) (absMax / 127.0);
      assertEquals(expected, scale.floats()[row], "scale of row " + row);
      for (int col = 0; col < 7; col++) {
        int i = row * 7 + col;
        assertEquals((byte) Math.rint(weights[i] / expected), quantized.data()[i], "element " + i);
      }
    }
  }

  @Test
  void prunesBeforeItQuantizes() throws IOException {
    run("optimize", in, out, "--quantize", "int4", "--prune", "nm=2:4", "--granularity", "group=4")
        .ok();
    Stored packed = TestCheckpoint.read(out).get("layer.0.weight");
    assertEquals("U8", packed.dtype());
    assertEquals(List.of(33L, 4L), packed.shape());
    for (int row = 0; row < 33; row++) {
      int zeros = 0;
      for (int col = 0; col < 4; col++) {
        int value = packed.data()[row * 4 + col / 2] >> (col % 2 * 4) & 15;
        zeros += value == 8 ? 1 : 0;
      }
      assertTrue(zeros >= 2, "row " + row + " has " + zeros + " zeros in its first group");
    }
    assertEquals(
        "--prune nm=2:4 --quantize int4 --granularity group=4 --range minmax",
        TestCheckpoint.readMetadata(out).get("sinew.recipe"));
  }

  @Test
  void clustersAndPrunedWeightsStayZero() throws IOException {
    String printed =
        run("optimize", in, out, "--cluster", "bits=3,rows=20", "--prune", "nm=2:4").ok().out();
    assertTrue(printed.contains("--prune nm=2:4 --cluster bits=3,rows=20"), printed);
    assertTrue(printed.contains("weights are zero"), printed);
    Map<String, Stored> after = TestCheckpoint.read(out);
    assertEquals("U8", after.get("layer.0.weight").dtype());
    assertEquals(List.of(33L, 3L), after.get("layer.0.weight").shape());
    assertEquals(List.of(2L, 8L), after.get("layer.0.weight_codebook").shape());
    assertEquals(List.of(1L, 8L), after.get("layer.1.weight_codebook").shape());
    // What compare decodes has the zeros that pruning alone makes.
    run("optimize", in, path("pruned"), "--prune", "nm=2:4").ok();
    float[] pruned = TestCheckpoint.read(path("pruned")).get("layer.0.weight").floats();
    Stored packed = after.get("layer.0.weight");
    float[] codebooks = after.get("layer.0.weight_codebook").floats();
    double error = 0;
    for (int i = 0; i < pruned.length; i++) {
      int index = 0;
      for (int b = 0; b < 3; b++) {
        int at = i / 7 * 24 + i % 7 * 3 + b;
        index |= (packed.data()[at / 8] >> at % 8 & 1) << b;
      }
      float decoded = codebooks[i / 7 / 17 * 8 + index]; // 33 rows in two groups of 17 and 16
      assertTrue(pruned[i] != 0 || decoded == 0, "weight " + i);
      error = Math.max(error, Math.abs(decoded - pruned[i]));
    }
    assertTrue(error > 0 && error < 0.03, "error " + error);
    Map<String, Object> compared =
        JsonText.object(run("compare", path("pruned"), out, "--json").ok().out());
    Map<String, Object> tensor = JsonText.named(compared, "tensors", "layer.0.weight");
    assertEquals(error, (Double) tensor.get("max_abs_error"), 1e-9);
    run("optimize", out, path("o2"), "--quantize", "int8").failed(1, "already quantized");
    String shown = run("inspect", out).ok().out();
    assertTrue(shown.contains("layer.0.weight_codebook"), shown);
  }

  @Test
  void targetsAndSkipsChooseTensors() throws IOException {
    run(
            "optimize",
            in,
            out,
            "--prune",
            "threshold=9",
            "--targets",
            "embed*",
            "--targets",
            "norm.weight",
            "--skip",
            "layer.1.*")
        .ok();
    Map<String, Stored> after = TestCheckpoint.read(out);
    assertArrayEquals(new float[40], after.get("embed.weight").floats());
    assertArrayEquals(new float[12], after.get("norm.weight").floats());
    assertArrayEquals(new float[231], after.get("layer.0.weight").floats());
    assertArrayEquals(
        TestCheckpoint.read(in).get("layer.1.weight").data(), after.get("layer.1.weight").data());
  }

  @Test
  void reportSaysWhatBecameOfEachTensor() throws IOException {
    Path report = path("report.json");
    run("optimize", in, out, "--prune", "sparsity=0.5,scope=tensor", "--report", report).ok();

    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals("--prune sparsity=0.5,scope=tensor", json.get("recipe"));
    assertEquals(in.toString(), json.get("input"));
    assertEquals(out.toString(), json.get("output"));
    assertEquals(false, json.get("dry_run"));
    assertEquals(4L * (40 + 231 + 33 + 90 + 12) + 8, json.get("input_bytes"));
    assertEquals(json.get("input_bytes"), json.get("output_bytes"));
    assertTrue((Double) json.get("seconds") > 0);
    assertTrue((Long) json.get("bytes_read") >= (Long) json.get("input_bytes"));
    assertEquals(6, JsonText.list(json, "tensors").size());
    Map<String, Object> touched = JsonText.named(json, "tensors", "layer.0.weight");
    assertEquals(
        "[name, dtype, shape, touched, reason, elements, zero_count, output_dtype, storage,"
            + " input_bytes, output_bytes]",
        touched.keySet().toString());
    assertEquals(true, touched.get("touched"));
    assertNull(touched.get("reason"));
    assertEquals(List.of(33L, 7L), touched.get("shape"));
    assertEquals(115L, touched.get("zero_count"));
    Map<String, Object> left = JsonText.named(json, "tensors", "steps");
    assertEquals(false, left.get("touched"));
    assertTrue(left.get("reason").toString().contains("I64"));
    assertNull(left.get("zero_count"));

    run("optimize", in, path("o2"), "--prune", "nm=2:4", "--report", report)
        .failed(1, "report.json' exists already");
    assertTrue(Files.notExists(path("o2")));
  }

  /** A limit on file sizes lets the checkpoint through, and not the report, which is larger. */
  @Test
  @Timeout(60)
  void aCheckpointWithoutItsReportIsKept() throws Exception {
    TestCheckpoint small = new TestCheckpoint();
    for (int i = 0; i < 300; i++) {
      small.longs("tensor." + i, i);
    }
    small.write(in);
    Path report = path("report.json");
    Process child =
        new ProcessBuilder(
                "sh",
                "-c",
                "ulimit -f 128; exec \"$@\"",
                "sh",
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:-UsePerfData",
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName(),
                "optimize",
                in.toString(),
                out.toString(),
                "--prune",
                "threshold=0.01",
                "--report",
                report.toString())
            .redirectErrorStream(true)
            .start();
    List<String> lines = child.inputReader().lines().toList();

    assertEquals(1, child.waitFor(), lines.toString());
    assertEquals(
        List.of(
            "sinew: '"
                + out
                + "' is complete, but its report was not written: cannot write '"
                + report
                + "': File too large; the file was not written"),
        lines);
    assertEquals(TestCheckpoint.read(in).keySet(), TestCheckpoint.read(out).keySet());
    assertEquals(List.of("in.safetensors", "out.safetensors"), files(folder));
  }

  @Test
  void aPatternThatMatchesNothingIsAWarning() throws IOException {
    Path report = path("report.json");
    Result result =
        run(
            "optimize",
            in,
            out,
            "--quantize",
            "int8",
            "--targets",
            "*.kernel\u001b",
            "--skip",
            "layer.1.*",
            "--skip",
            "layer.2.*",
            "--report",
            report);
    assertEquals(0, result.status());
    assertEquals(
        "sinew: warning: --targets *.kernel\\u001b matches no tensor\n"
            + "sinew: warning: --skip layer.2.* matches no tensor\n",
        result.err());
    assertTrue(result.out().contains("1 touched, 5 left"), result.out());
    assertEquals(
        List.of("--targets *.kernel\u001b", "--skip layer.2.*"),
        JsonText.object(Files.readString(report)).get("unmatched_patterns"));
  }

  @Test
  void aNameThatIsTooLongIsRefusedAtOnce() throws IOException {
    // 255 bytes, of which some characters take three.
    String longest = "\u6a21".repeat(85);
    for (String name : List.of(longest + "x", "y".repeat(256))) {
      run("optimize", in, path(name), "--quantize", "int8")
          .failed(1, "File name too long", "at most 255 bytes");
      run("optimize", path(name), out, "--quantize", "int8").failed(1, "File name too long");
      run("optimize", in, out, "--quantize", "int8", "--report", path(name))
          .failed(1, "File name too long", "at most 255 bytes");
    }
    assertEquals(List.of("in.safetensors"), files(folder));
    run("optimize", in, path(longest), "--quantize", "int8").ok();
    run("inspect", path(longest)).ok();
  }

  @Test
  void aDryRunWritesNothing() throws IOException {
    String printed = run("optimize", in, out, "--quantize", "int8", "--dry-run").ok().out();
    assertTrue(printed.contains("dry run"), printed);
    assertTrue(printed.contains("2 touched"), printed);
    assertEquals(List.of("in.safetensors"), files(folder));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--prune threshold=-1                               | -1.0",
        "--prune threshold=nan                              | 'threshold=nan'",
        "--prune threshold=NaN                              | NaN",
        "--prune threshold=Infinity                         | Infinity",
        "--prune threshold                                  | threshold=T",
        "--prune sparsity=1.5                               | 1.5",
        "--prune sparsity=-0.1                              | -0.1",
        "--prune sparsity=0.5,scope=row                     | scope=row",
        "--prune sparsity=                                  | sparsity=",
        "--prune nm=4:2                                     | 4:2",
        "--prune nm=0:4                                     | 0:4",
        "--prune nm=2                                       | nm=2",
        "--prune nm=2:5000                                  | 4096",
        "--quantize int3                                    | 'int3'",
        "--quantize int8 --granularity group=0              | group size 0",
        "--quantize int8 --granularity group=-8             | -8",
        "--quantize int8 --granularity row                  | 'row'",
        "--quantize int4 --granularity group=5              | even",
        "--quantize int8 --range percentile=0               | 0.0",
        "--quantize int8 --range percentile=101             | 101",
        "--quantize int8 --range percentile=x               | percentile=x",
        "--quantize int8 --range max                        | 'max'",
        "--quantize int8 --threads 0                        | --threads",
        "--quantize int8 --threads 5000                     | 4096",
        "--quantize int8 --threads two                      | two",
        "--quantize int8 --quantize int4                    | --quantize",
        "--prune nm=2:4 --granularity tensor                | --granularity goes with --quantize",
        "--prune nm=2:4 --range mse                         | --range goes with --quantize",
        "--prune nm=2:4 --asymmetric                        | --asymmetric goes with --quantize",
        "--cluster bits=1                                   | 2 to 8 bits, not 1",
        "--cluster bits=9                                   | 2 to 8 bits, not 9",
        "--cluster 4                                        | bits=B",
        "--cluster rows=4                                   | bits=B",
        "--cluster bits=4,bits=4                            | 'bits=4,bits=4'",
        "--cluster bits=4,                                  | 'bits=4,'",
        "--cluster bits=x                                   | 'bits=x'",
        "--cluster bits=4,cols=2                            | cols=2",
        "--cluster bits=4,rows=0                            | at least 1 row",
        "--cluster bits=4,rows=-2                           | -2",
        "--cluster bits=4,rows=99999999999                  | rows=99999999999",
        "--cluster bits=4,iterations=1001                   | 1001",
        "--cluster bits=4,iterations=-1                     | -1",
        "--cluster bits=4 --quantize int8                   | --quantize and --cluster",
        "--cluster bits=4 --sparse-format bitmap            | --sparse-format does not go with --cluster",
        "--cluster bits=4 --granularity tensor              | --granularity goes with --quantize",
        "--cluster bits=4 --range mse                       | --range goes with --quantize",
        "--cluster bits=4 --asymmetric                      | --asymmetric goes with --quantize",
        "--threads 1                                        | sinew convert",
        "--prune                                            | --prune",
      })
  void wrongValuesAreRefused(String options, String part) throws IOException {
    String[] arguments = ("optimize IN OUT " + options).split(" +");
    arguments[1] = in.toString();
    arguments[2] = out.toString();
    run((Object[]) arguments).failed(2, part, "'sinew optimize --help'");
    assertEquals(List.of("in.safetensors"), files(folder));
  }

  @Test
  void filesThatCannotBeUsedAreRefusedBeforeTheWork() throws IOException {
    String[] how = {"--prune", "threshold=0.01"};
    run("optimize", path("none"), out, how[0], how[1]).failed(1, "none': it does not exist");
    run("optimize", in, in, how[0], how[1], "--force").failed(1, "is the input itself");
    Files.createSymbolicLink(path("link"), in);
    run("optimize", in, path("link"), how[0], how[1], "--force").failed(1, "is the input itself");
    Files.createLink(path("hard"), in);
    run("optimize", path("hard"), in, how[0], how[1], "--force").failed(1, "is the input itself");
    run("optimize", in, folder, how[0], how[1], "--force").failed(1, "is a folder");
    run("optimize", in, path("no/where"), how[0], how[1]).failed(1, "does not exist");
    run("optimize", in, out, how[0], how[1], "--report", out).failed(2, "the same file");
    Path linked = Files.createSymbolicLink(path("linked"), folder).resolve("out.safetensors");
    run("optimize", in, out, how[0], how[1], "--report", linked, "--force")
        .failed(2, "the same file");
    Files.delete(path("linked"));
    run("optimize", in, out, how[0], how[1], "--report", in, "--force")
        .failed(1, "is the input itself");
    run("optimize", in, out, how[0], how[1], "--report", folder).failed(1, "is a folder");
    Files.writeString(out, "precious");
    run("optimize", in, out, how[0], how[1]).failed(1, "exists already", "--force");
    assertEquals("precious", Files.readString(out));
    Files.writeString(path("text"), "this is not a checkpoint");
    run("optimize", path("text"), path("o2"), how[0], how[1]).failed(1, "text");
    assertEquals(
        List.of("hard", "in.safetensors", "link", "out.safetensors", "text"), files(folder));

    run("optimize", in, out, how[0], how[1], "--force").ok();
    assertEquals(6, TestCheckpoint.read(out).size());
  }

  @Test
  void notANumberIsAnErrorThatNamesTheTensor() throws IOException {
    float[] values = TestCheckpoint.weights(6, 12);
    values[7] = Float.NaN;
    Path bad = new TestCheckpoint().floats("a.weight", values, 3, 4).write(path("bad"));
    run("optimize", bad, out, "--prune", "threshold=0.01").failed(1, "a.weight");
    run("optimize", bad, out, "--quantize", "int8").failed(1, "a.weight");
    assertEquals(List.of("bad", "in.safetensors"), files(folder));
    run("optimize", bad, out, "--quantize", "int8", "--skip", "a.*").ok();
  }

  @Test
  void whatIsQuantizedAlreadyIsRefused() throws IOException {
    run("optimize", in, out, "--quantize", "int8").ok();
    run("optimize", out, path("o2"), "--prune", "nm=2:4").failed(1, "already quantized");
  }

  @Test
  void aModelWithoutWeightsSaysHowToNameThem() throws IOException {
    Path odd = new TestCheckpoint().floats("kernel", new float[4], 2, 2).write(path("odd"));
    String printed = run("optimize", odd, out, "--prune", "nm=2:4").ok().out();
    assertTrue(printed.contains("no tensor was touched; --targets GLOB"), printed);
  }
}
