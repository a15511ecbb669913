package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** {@code optimize --sparse-format bitmap}, and what the other commands make of its files. */
class SparseFormatTest extends CommandLineTest {
  private static final List<String> NAMES = List.of("layer.0.weight", "layer.1.weight");

  private Path in;
  private Path sparse;
  private Path dense;

  @BeforeEach
  void model() throws IOException {
    in = TestCheckpoint.model().write(path("in.safetensors"));
    sparse = path("sparse.safetensors");
    dense = path("dense.safetensors");
  }

  private static void assertSame(Path expected, Path actual) throws IOException {
    Map<String, Stored> before = TestCheckpoint.read(expected);
    Map<String, Stored> after = TestCheckpoint.read(actual);
    assertEquals(before.keySet(), after.keySet());
    before.forEach(
        (name, tensor) -> {
          assertEquals(tensor.dtype(), after.get(name).dtype(), name);
          assertEquals(tensor.shape(), after.get(name).shape(), name);
          assertArrayEquals(tensor.data(), after.get(name).data(), name);
        });
  }

  @Test
  void theLayoutIsTheOneInTheDocumentation() throws IOException {
    String printed =
        run("optimize", in, sparse, "--prune", "sparsity=0.8", "--sparse-format", "bitmap")
            .ok()
            .out();
    assertTrue(printed.contains("2 tensors with a bitmap\n"), printed);
    run("optimize", in, dense, "--prune", "sparsity=0.8").ok();
    float[] expected = TestCheckpoint.read(dense).get("layer.0.weight").floats();
    Map<String, Stored> parts = TestCheckpoint.read(sparse);
    Stored values = parts.get("layer.0.weight");
    Stored bitmap = parts.get("layer.0.weight_bitmap");
    Stored offsets = parts.get("layer.0.weight_row_offsets");
    Stored shape = parts.get("layer.0.weight_shape");
    assertEquals("F32", values.dtype());
    assertEquals("U8", bitmap.dtype());
    assertEquals(List.of(33L, 1L), bitmap.shape());
    assertEquals("I64", offsets.dtype());
    assertEquals(List.of(34L), offsets.shape());
    assertEquals(List.of(2L), shape.shape());
    assertEquals(33, shape.buffer().getLong(0));
    assertEquals(7, shape.buffer().getLong(8));
    int value = 0;
    for (int row = 0; row < 33; row++) {
      assertEquals(value, offsets.buffer().getLong(8 * row), "offset of row " + row);
      int bits = 0;
      for (int col = 0; col < 7; col++) {
        if (expected[row * 7 + col] != 0) {
          assertEquals(expected[row * 7 + col], values.floats()[value++]);
          bits |= 1 << col;
        }
      }
      assertEquals(bits, bitmap.data()[row], "bits of row " + row);
    }
    assertEquals(value, offsets.buffer().getLong(8 * 33));
    assertEquals(List.of((long) value), values.shape());
    assertEquals(
        "--prune sparsity=0.8 --sparse-format bitmap",
        TestCheckpoint.readMetadata(sparse).get("sinew.recipe"));
  }

  @Test
  void convertKeepsTheStorageOrUndoesIt() throws IOException {
    for (String[] how : new String[][] {{}, {"--quantize", "int8"}}) {
      Path kept = path("kept");
      Path back = path("back");
      Object[] common = {in, dense, "--prune", "sparsity=0.8", "--force"};
      run(line("optimize", common, how)).ok();
      common[1] = sparse;
      run(line("optimize", common, how, "--sparse-format", "bitmap")).ok();
      run("convert", sparse, kept, "--force").ok();
      assertSame(sparse, kept);
      run("convert", sparse, back, "--dense", "--force").ok();
      assertSame(dense, back);
      run("convert", dense, back, "--dense", "--force").ok();
      assertSame(dense, back);
      String compared = run("compare", dense, sparse, "--json").ok().out();
      assertTrue(compared.contains("\"comparable\" : true"), compared);
      for (Map<String, Object> tensor : JsonText.list(JsonText.object(compared), "tensors")) {
        assertEquals(true, tensor.get("equal"), tensor.toString());
      }
    }
  }

  private static Object[] line(String command, Object[] common, String[] how, Object... more) {
    List<Object> all = new java.util.ArrayList<>(List.of(command));
    all.addAll(List.of(common));
    all.addAll(List.of((Object[]) how));
    all.addAll(List.of(more));
    return all.toArray();
  }

  @Test
  void inspectShowsTheTensorAndTheSizeItTakes() throws IOException {
    run("optimize", in, sparse, "--prune", "sparsity=0.8", "--sparse-format", "bitmap").ok();
    run("optimize", in, dense, "--prune", "sparsity=0.8").ok();
    Map<String, Object> a = run("inspect", sparse, "--json").ok().json();
    Map<String, Object> b = run("inspect", dense, "--json").ok().json();
    assertEquals(b.get("elements"), a.get("elements"));
    Map<String, Stored> parts = TestCheckpoint.read(sparse);
    long all = parts.values().stream().mapToLong(tensor -> tensor.data().length).sum();
    assertEquals(all, a.get("bytes"));
    for (String name : NAMES) {
      Map<String, Object> shown = JsonText.named(a, "tensors", name);
      Map<String, Object> expected = JsonText.named(b, "tensors", name);
      assertEquals("bitmap", shown.get("storage"));
      assertEquals("dense", expected.get("storage"));
      long bytes =
          parts.entrySet().stream()
              .filter(part -> part.getKey().startsWith(name))
              .mapToLong(part -> part.getValue().data().length)
              .sum();
      assertEquals(bytes, shown.get("bytes"));
      for (String field : List.of("dtype", "shape", "min", "max", "mean", "zero_count")) {
        assertEquals(expected.get(field), shown.get(field), field);
      }
    }
    String table = run("inspect", sparse).ok().out();
    assertTrue(table.contains("F32 bitmap"), table);
  }

  @Test
  void theReportSaysHowEachTensorIsStored() throws IOException {
    // Nothing of layer.1 is pruned, so a bitmap would only make it larger.
    String printed =
        run(
                "optimize",
                in,
                sparse,
                "--prune",
                "sparsity=0.9,scope=tensor",
                "--skip",
                "layer.1.*",
                "--targets",
                "layer.1.weight",
                "--sparse-format",
                "bitmap",
                "--report",
                path("report"))
            .ok()
            .out();
    assertTrue(printed.contains("1 tensor with a bitmap\n"), printed);
    Map<String, Object> report = JsonText.object(Files.readString(path("report")));
    Map<String, Object> entry = JsonText.named(report, "tensors", "layer.0.weight");
    assertEquals("bitmap", entry.get("storage"));
    assertEquals("dense", JsonText.named(report, "tensors", "layer.1.weight").get("storage"));
    assertTrue((long) entry.get("output_bytes") < (long) entry.get("input_bytes"));

    printed =
        run("optimize", in, path("o2"), "--prune", "sparsity=0", "--sparse-format", "bitmap")
            .ok()
            .out();
    assertTrue(
        printed.contains("0 tensors with a bitmap, 2 dense, where a bitmap would save nothing"),
        printed);
    Map<String, Stored> untouched = TestCheckpoint.read(path("o2"));
    assertEquals(TestCheckpoint.read(in).keySet(), untouched.keySet());
    printed =
        run(
                "optimize",
                in,
                path("o3"),
                "--prune",
                "nm=2:4",
                "--sparse-format",
                "bitmap",
                "--dry-run")
            .ok()
            .out();
    assertTrue(printed.contains("unknown before weights are pruned"), printed);
  }

  @Test
  void whatWasPrunedElsewhereIsStoredWithoutAPass() throws IOException {
    run("optimize", in, dense, "--prune", "sparsity=0.8").ok();
    run("optimize", dense, sparse, "--sparse-format", "bitmap").ok();
    Path back = path("back");
    run("convert", sparse, back, "--dense").ok();
    assertSame(dense, back);
  }

  @Test
  void wrongUsage() throws IOException {
    run("optimize", in, sparse, "--prune", "nm=2:4", "--sparse-format", "csr")
        .failed(2, "'csr' is not a sparse format");
    run("optimize", in, sparse, "--quantize", "int4", "--sparse-format", "bitmap")
        .failed(2, "dense int4 is smaller");
    run("optimize", in, sparse, "--quantize", "int8", "--asymmetric", "--sparse-format", "bitmap")
        .failed(2, "zero point");
    assertEquals(List.of("in.safetensors"), files(folder));
  }

  @Test
  void aDamagedFileIsOneSentence() throws IOException {
    Path bad =
        new TestCheckpoint()
            .floats("a.weight", new float[] {1, 2}, 2)
            .add("a.weight_bitmap", "U8", new byte[] {1, 1}, 2, 1)
            .longs("a.weight_row_offsets", 0, 5, 2)
            .longs("a.weight_shape", 2, 8)
            .write(path("bad"));
    for (Object[] command :
        new Object[][] {
          {"inspect", bad},
          {"compare", bad, bad},
          {"convert", bad, path("o"), "--dense"},
          {"optimize", bad, path("o"), "--prune", "nm=2:4"}
        }) {
      Result result = run(command);
      assertEquals(1, result.status());
      assertTrue(result.err().contains("'a.weight'"), result.err());
      assertTrue(result.err().contains("row 1 begins at value 5 of 2"), result.err());
    }
    assertEquals(List.of("bad", "in.safetensors"), files(folder));
    // As stored it can be handed on.
    run("convert", bad, path("o")).ok();
  }

  @Test
  void mnist() throws IOException {
    Path file = Path.of(System.getProperty("sinew.data", "none"), "mnist", "cnn.safetensors");
    Assumptions.assumeTrue(Files.exists(file), "skipped: " + file + " is not there");
    String[] how = {"--prune", "threshold=0.02", "--quantize", "int8"};
    run(line("optimize", new Object[] {file, dense}, how)).ok();
    run(line("optimize", new Object[] {file, sparse}, how, "--sparse-format", "bitmap")).ok();
    run("convert", sparse, path("back"), "--dense").ok();
    assertSame(dense, path("back"));
    assertTrue(Files.size(sparse) < 0.65 * Files.size(dense), Files.size(sparse) + " bytes");
  }
}
