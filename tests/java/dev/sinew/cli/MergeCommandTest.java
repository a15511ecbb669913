package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.io.TestModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code sinew merge} on files; the merges themselves are tested in dev.sinew.pass.MergerTest. */
class MergeCommandTest extends CommandLineTest {
  private Path a;
  private Path b;
  private Path c;
  private Path out;

  @BeforeEach
  void models() throws IOException {
    a = model(1).write(path("a"));
    b = model(2).write(path("b"));
    c = model(3).write(path("c"));
    out = path("out");
  }

  private static TestCheckpoint model(long seed) {
    return new TestCheckpoint()
        .metadata("origin", "model " + seed)
        .floats("embed.weight", TestCheckpoint.weights(seed, 40), 10, 4)
        .floats("layer.weight", TestCheckpoint.weights(seed + 100, 33 * 7), 33, 7)
        .floats("layer.bias", TestCheckpoint.weights(seed + 200, 33), 33)
        .longs("steps", 1000 + seed);
  }

  private interface Element {
    float of(float a, float b, float c);
  }

  private void assertMerged(Element expected) throws IOException {
    Map<String, Stored> merged = TestCheckpoint.read(out);
    Map<String, Stored> first = TestCheckpoint.read(a);
    assertEquals(first.keySet(), merged.keySet());
    for (String name : List.of("embed.weight", "layer.weight", "layer.bias")) {
      float[] x = first.get(name).floats();
      float[] y = TestCheckpoint.read(b).get(name).floats();
      float[] z = TestCheckpoint.read(c).get(name).floats();
      float[] found = merged.get(name).floats();
      assertEquals(first.get(name).shape(), merged.get(name).shape());
      for (int i = 0; i < found.length; i++) {
        assertEquals(expected.of(x[i], y[i], z[i]), found[i], 1e-6f, name + " " + i);
      }
    }
    assertArrayEquals(first.get("steps").data(), merged.get("steps").data());
  }

  @Test
  void linear() throws IOException {
    String printed = run("merge", a, b, c, "-o", out, "--method", "linear").ok().out();
    assertMerged((x, y, z) -> (x + y + z) / 3);
    assertTrue(printed.startsWith(a + " + " + b + " + " + c + " -> " + out + "\n"), printed);
    assertTrue(printed.contains("recipe    --method linear\n"), printed);
    assertTrue(printed.contains("3 merged, 1 copied, 0 left out"), printed);
    assertTrue(
        printed.contains("copied:\n  I64, differs between models: taken from the first (1): steps"),
        printed);
    assertEquals(
        Map.of(
            "origin",
            "model 1",
            "format",
            "pt",
            "sinew.recipe",
            "--method linear",
            "sinew.merged",
            "a, b, c",
            "sinew.version",
            TestCheckpoint.readMetadata(out).get("sinew.version")),
        TestCheckpoint.readMetadata(out));

    String[] weighted = {"--method", "linear", "--weights", "3,1"};
    run("merge", a, b, "--output", out, "--force", weighted[0], weighted[1], weighted[2], "3,1")
        .ok();
    assertMerged((x, y, z) -> 0.75f * x + 0.25f * y);
    run("merge", a, b, "-o", out, "--force", "--method=linear", "--weights=3,-1", "--no-normalize")
        .ok();
    assertMerged((x, y, z) -> 3 * x - y);
    assertEquals(
        "--method linear --weights 3.0,-1.0 --no-normalize",
        TestCheckpoint.readMetadata(out).get("sinew.recipe"));
  }

  @Test
  void slerpAtItsEnds() throws IOException {
    run("merge", a, b, "-o", out, "--method", "slerp", "--t", "0").ok();
    assertMerged((x, y, z) -> x);
    run("merge", a, b, "-o", out, "--method", "slerp", "--t", "1", "--force").ok();
    assertMerged((x, y, z) -> y);
    run("merge", a, b, "-o", out, "--method", "slerp", "--force").ok();
    assertEquals("--method slerp --t 0.5", TestCheckpoint.readMetadata(out).get("sinew.recipe"));
  }

  @Test
  void methodsWithABase() throws IOException {
    run("merge", a, b, "--base", c, "-o", out, "--method", "task-arithmetic", "--weights", "0.5,2")
        .ok();
    assertMerged((x, y, z) -> z + 0.5f * (x - z) + 2 * (y - z));
    assertEquals("c", TestCheckpoint.readMetadata(out).get("sinew.base"));
    // Negation: what b has learnt is taken away.
    run("merge", a, "--base", c, "-o", out, "--method", "task-arithmetic", "--lambda=-1", "--force")
        .ok();
    assertMerged((x, y, z) -> z - (x - z));
    run("merge", a, b, "--base", c, "-o", out, "--method", "ties", "--density", "1", "--force")
        .ok();
    assertMerged(
        (x, y, z) -> {
          float p = x - z;
          float q = y - z;
          return z + (p * q > 0 ? (p + q) / 2 : Math.abs(p) > Math.abs(q) ? p : q);
        });
    run("merge", a, b, "--base", c, "-o", out, "--method", "dare", "--density", "1", "--force")
        .ok();
    assertMerged((x, y, z) -> x + y - z);
    assertEquals(
        "--method dare --density 1.0 --lambda 1.0 --seed 0",
        TestCheckpoint.readMetadata(out).get("sinew.recipe"));
  }

  @Test
  void seedsAndThreads() throws IOException {
    List<byte[]> found = new ArrayList<>();
    for (String more : List.of("--seed 7 --threads 1", "--seed 7 --threads 5", "--seed -7")) {
      run(("merge A B --base C -o O --method dare --density 0.5 --force " + more)
              .replace("A", a.toString())
              .replace("B", b.toString())
              .replace("C", c.toString())
              .replace("O", out.toString())
              .split(" "))
          .ok();
      found.add(TestCheckpoint.read(out).get("layer.weight").data());
    }
    assertArrayEquals(found.get(0), found.get(1));
    assertFalse(java.util.Arrays.equals(found.get(0), found.get(2)), "the seed has no effect");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "A B -o O                                          | --method",
        "A B --method linear                               | '--output=OUT'",
        "-o O --method linear                              | 'MODEL'",
        "A B -o O --method average                         | linear, slerp, task-arithmetic, ties, dare, not 'average'",
        "A -o O --method linear                            | linear merges 2 to 64 models, not 1",
        "A B C -o O --method slerp                         | slerp merges exactly 2 models, not 3",
        "A B -o O --method linear --weights 1              | 1 weights do not fit 2 models",
        "A B -o O --method linear --weights 1,2,3          | 3 weights do not fit 2 models",
        "A B -o O --method linear --weights 1,x            | 'x' is not a double",
        "A B -o O --method linear --weights 1,nan          | 'nan'",
        "A B -o O --method linear --weights 1,NaN          | not a number that F32 holds",
        "A B -o O --method linear --weights 1,1e39         | not a number that F32 holds",
        "A B -o O --method linear --weights 1,-1           | sum to 0",
        "A B -o O --method linear --t 0.5                  | --t goes with --method slerp only",
        "A B -o O --method linear --density 0.5            | --density goes with",
        "A B -o O --method linear --lambda 0.5             | --lambda goes with",
        "A B -o O --method linear --seed 1                 | --seed goes with --method dare only",
        "A B -o O --method linear --base C                 | --base goes with",
        "A B -o O --method linear --missing ignore         | error, skip, copy, not 'ignore'",
        "A B -o O --method linear --threads 0              | --threads",
        "A B -o O --method slerp --weights 1,2             | slerp takes --t, the place",
        "A B -o O --method slerp --t 1.5                   | not between 0 and 1",
        "A B -o O --method slerp --t NaN                   | not between 0 and 1",
        "A B -o O --method slerp --no-normalize            | --no-normalize goes with",
        "A B -o O --method task-arithmetic                 | needs --base",
        "A B -o O --method task-arithmetic --base C --density 0.5 | --density goes with",
        "A B -o O --method ties --base C                   | needs --density",
        "A B -o O --method ties --base C --density 0       | the density 0.0",
        "A B -o O --method ties --base C --density 1.01    | the density 1.01",
        "A B -o O --method ties --base C --density 0.5 --weights 1,-1 | cannot be normalized",
        "A B -o O --method ties --base C --density 0.5 --weights 2,-1 | which TIES cannot normalize",
        "A B -o O --method dare --density 0.5              | needs --base",
        "A B -o O --method dare --base C --density 0.5 --seed x | --seed",
        "A B -o O --method dare --base C --density 1e-300  | F32",
        "A B -o O --method dare --base C --density 0.5 --no-normalize | --no-normalize goes with",
        "A B -o O --method linear --report O               | the same file",
        "A B -o O --method linear --bogus                  | --bogus",
      })
  void wrongValuesAreRefused(String options, String part) throws IOException {
    List<Object> arguments = new ArrayList<>(List.of("merge"));
    for (String argument : options.split(" +")) {
      arguments.add(
          argument.matches("[ABC]")
              ? path(argument.toLowerCase(java.util.Locale.ROOT))
              : argument.equals("O") ? out : argument);
    }
    run(arguments.toArray()).failed(2, part, "'sinew merge --help'");
    assertEquals(List.of("a", "b", "c"), files(folder));
  }

  @Test
  void filesThatCannotBeUsedAreRefusedBeforeTheWork() throws IOException {
    String[] how = {"--method", "linear"};
    run("merge", a, path("none"), "-o", out, how[0], how[1]).failed(1, "none': it does not exist");
    run("merge", a, b, "-o", a, how[0], how[1], "--force").failed(1, "a' is the input itself");
    run("merge", a, b, "-o", b, how[0], how[1], "--force").failed(1, "b' is the input itself");
    run("merge", a, "--base", c, "-o", c, "--method", "task-arithmetic", "--force")
        .failed(1, "c' is the input itself");
    run("merge", a, b, "-o", path("no/where"), how[0], how[1]).failed(1, "does not exist");
    run("merge", a, b, "-o", folder, how[0], how[1], "--force").failed(1, "is a folder");
    run("merge", a, b, "-o", out, how[0], how[1], "--report", b, "--force")
        .failed(1, "b' is the input itself");
    Files.writeString(out, "precious");
    run("merge", a, b, "-o", out, how[0], how[1]).failed(1, "exists already", "--force");
    assertEquals("precious", Files.readString(out));
    Files.writeString(path("text"), "this is not a checkpoint");
    run("merge", a, path("text"), "-o", out, how[0], how[1], "--force").failed(1, "text");
    assertEquals("precious", Files.readString(out));
    assertEquals(List.of("a", "b", "c", "out", "text"), files(folder));
  }

  @Test
  void aDryRunWritesOnlyTheReport() throws IOException {
    Path report = path("report.json");
    String printed =
        run("merge", a, b, "-o", out, "--method", "linear", "--dry-run", "--report", report)
            .ok()
            .out();
    assertTrue(printed.contains("(dry run: nothing was written)"), printed);
    assertEquals(List.of("a", "b", "c", "report.json"), files(folder));
    assertEquals(0L, JsonText.object(Files.readString(report)).get("bytes_read"));
  }

  @Test
  void theReport() throws IOException {
    Path other = model(4).floats("extra.weight", new float[6], 2, 3).write(path("other"));
    Path report = path("report.json");
    run(
            "merge",
            a,
            other,
            "--base",
            c,
            "-o",
            out,
            "--method",
            "ties",
            "--density",
            "0.5",
            "--missing",
            "copy",
            "--skip",
            "layer.bias",
            "--report",
            report)
        .ok();
    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals(
        List.of(
            "sinew_version",
            "models",
            "base",
            "output",
            "dry_run",
            "recipe",
            "device",
            "device_reason",
            "unmatched_patterns",
            "input_bytes",
            "output_bytes",
            "bytes_read",
            "seconds",
            "files_copied",
            "files_not_copied",
            "tensors"),
        List.copyOf(json.keySet()));
    assertEquals(List.of(a.toString(), other.toString()), json.get("models"));
    assertEquals(c.toString(), json.get("base"));
    assertEquals("--method ties --density 0.5 --lambda 1.0", json.get("recipe"));
    assertEquals(List.of(), json.get("unmatched_patterns"));
    long bytes = 4 * (40 + 231 + 33) + 8;
    assertEquals(3 * bytes + 24, json.get("input_bytes"));
    assertEquals(bytes + 24, json.get("output_bytes"));
    Map<String, Object> merged = JsonText.named(json, "tensors", "embed.weight");
    assertEquals(
        List.of("name", "dtype", "shape", "action", "reason", "source"),
        List.copyOf(merged.keySet()));
    assertEquals("merged", merged.get("action"));
    assertNull(merged.get("reason"));
    assertNull(merged.get("source"));
    Map<String, Object> skipped = JsonText.named(json, "tensors", "layer.bias");
    assertEquals("copied", skipped.get("action"));
    assertEquals("matches --skip layer.bias", skipped.get("reason"));
    assertEquals(a.toString(), skipped.get("source"));
    Map<String, Object> extra = JsonText.named(json, "tensors", "extra.weight");
    assertEquals("copied", extra.get("action"));
    assertEquals("only in 1 of 3 checkpoints", extra.get("reason"));
    assertEquals(other.toString(), extra.get("source"));
    assertEquals("I64", JsonText.named(json, "tensors", "steps").get("dtype"));
  }

  @Test
  void whatDoesNotFitIsNamedOrLeftOutOrCopied() throws IOException {
    Path other =
        new TestCheckpoint()
            .floats("layer.weight", TestCheckpoint.weights(9, 33 * 7), 33, 7)
            .floats("layer.bias", TestCheckpoint.weights(8, 32), 32)
            .floats("head.weight", TestCheckpoint.weights(7, 8), 2, 4)
            .longs("steps", 5)
            .write(path("other"));
    String[] how = {"-o", out.toString(), "--method", "linear"};
    run("merge", a, other, how[0], how[1], how[2], how[3])
        .failed(1, "'layer.bias' is F32 [33] in", "F32 [32] in", "--missing skip", "--skip");
    run("merge", a, other, how[0], how[1], how[2], how[3], "--skip", "layer.bias")
        .failed(1, "lacks 'head.weight'", "lacks 'embed.weight'", "--missing copy");
    assertEquals(List.of("a", "b", "c", "other"), files(folder));

    String printed =
        run("merge", a, other, how[0], how[1], how[2], how[3], "--missing", "skip").ok().out();
    assertEquals(java.util.Set.of("layer.weight", "steps"), TestCheckpoint.read(out).keySet());
    assertTrue(printed.contains("1 merged, 1 copied, 3 left out"), printed);
    assertTrue(printed.contains("shape or type differs between checkpoints (1): layer"), printed);
    assertTrue(printed.contains("only in 1 of 2 checkpoints (2): embed.weight, head"), printed);

    run("merge", a, other, how[0], how[1], how[2], how[3], "--missing", "copy", "--force").ok();
    Map<String, Stored> merged = TestCheckpoint.read(out);
    for (String name : List.of("layer.bias", "embed.weight")) {
      assertArrayEquals(TestCheckpoint.read(a).get(name).data(), merged.get(name).data(), name);
    }
    Stored head = TestCheckpoint.read(other).get("head.weight");
    assertArrayEquals(head.data(), merged.get("head.weight").data());
    assertEquals(head.shape(), merged.get("head.weight").shape());

    // Names that are all different are of no one architecture, whatever --missing says.
    Path stranger = new TestCheckpoint().floats("x", new float[2], 2).write(path("stranger"));
    for (String missing : List.of("skip", "copy")) {
      run("merge", a, stranger, how[0], how[1], how[2], how[3], "--missing", missing, "--force")
          .failed(1, "have no tensor in common");
    }
  }

  @Test
  void aPatternThatMatchesNothingIsAWarning() throws IOException {
    Path report = path("report.json");
    Result result =
        run(
            "merge",
            a,
            b,
            "-o",
            out,
            "--method",
            "linear",
            "--skip",
            "layer.bais",
            "--skip",
            "embed*",
            "--report",
            report);
    assertEquals(0, result.status());
    assertEquals("sinew: warning: --skip layer.bais matches no tensor\n", result.err());
    assertEquals(
        List.of("--skip layer.bais"),
        JsonText.object(Files.readString(report)).get("unmatched_patterns"));
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
  void notANumberIsAnErrorThatNamesModelAndTensor(float bad) throws IOException {
    float[] values = TestCheckpoint.weights(6, 33);
    values[7] = bad;
    Path spoiled =
        new TestCheckpoint()
            .floats("embed.weight", TestCheckpoint.weights(1, 40), 10, 4)
            .floats("layer.weight", TestCheckpoint.weights(2, 33 * 7), 33, 7)
            .floats("layer.bias", values, 33)
            .longs("steps", 5)
            .write(path("spoiled"));
    for (String method : List.of("linear", "slerp")) {
      run("merge", a, spoiled, "-o", out, "--method", method)
          .failed(1, "spoiled' has NaN", "'layer.bias'");
    }
    for (String method : List.of("ties", "dare")) {
      run("merge", a, b, "--base", spoiled, "-o", out, "--method", method, "--density", "0.5")
          .failed(1, "spoiled' has NaN", "'layer.bias'");
    }
    assertEquals(List.of("a", "b", "c", "spoiled"), files(folder));
  }

  @Test
  void formatsMayDiffer() throws IOException {
    Map<String, Stored> tensors = TestModels.bertTensors(1);
    Path torch = TestModels.writePyTorch(path("model.bin"), tensors);
    Path safe = TestModels.writeSafeTensors(path("model.st"), TestModels.bertTensors(2));
    run("merge", torch, safe, "-o", out, "--method", "linear", "--weights", "1,0").ok();
    run("compare", torch, out).ok();
    TestCheckpoint.read(out)
        .forEach(
            (name, tensor) ->
                assertArrayEquals(tensors.get(name).floats(), tensor.floats(), 0, name));
    run("merge", safe, torch, "-o", out, "--method", "slerp", "--force").ok();
  }

  @Test
  void quantizedModelsAreRefusedAndThoseWithBitmapsAreNot() throws IOException {
    Path small = path("small");
    run("optimize", a, small, "--quantize", "int8").ok();
    run("merge", b, small, "-o", out, "--method", "linear").failed(1, "small' is quantized");
    run("optimize", a, small, "--cluster", "bits=4", "--force").ok();
    run("merge", b, small, "-o", out, "--method", "linear").failed(1, "small' is quantized");
    String[] prune = {"--prune", "sparsity=0.8", "--targets", "*"};
    run("optimize", a, path("dense"), prune[0], prune[1], prune[2], prune[3]).ok();
    run(
            "optimize",
            a,
            small,
            prune[0],
            prune[1],
            prune[2],
            prune[3],
            "--sparse-format",
            "bitmap",
            "--force")
        .ok();
    assertTrue(TestCheckpoint.read(small).containsKey("layer.weight_bitmap"));
    run("merge", b, small, "-o", out, "--method", "linear").ok();
    byte[] sparse = Files.readAllBytes(out);
    run("merge", b, path("dense"), "-o", out, "--method", "linear", "--force").ok();
    Map<String, Stored> expected = TestCheckpoint.read(out);
    Files.write(out, sparse);
    TestCheckpoint.read(out)
        .forEach((name, t) -> assertArrayEquals(expected.get(name).data(), t.data(), name));
  }
}
