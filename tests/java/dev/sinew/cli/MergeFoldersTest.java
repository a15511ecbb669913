package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.io.TestModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code sinew merge} on the folders of models, against the same models as single files. */
class MergeFoldersTest extends CommandLineTest {
  private static final String INDEX = "model.safetensors.index.json";

  private Path a;
  private Path b;
  private Path c;
  private Path out;

  @BeforeEach
  void models() throws IOException {
    a = TestModels.llama(path("a"), 1);
    b = sharded(path("b"), TestModels.llamaTensors(2), "model-0000%d-of-00005.safetensors", 5);
    c = TestModels.writeSafeTensors(path("c.safetensors"), TestModels.llamaTensors(3));
    out = path("out");
  }

  /** A folder with these tensors in so many shards, and a tokenizer of its own. */
  private static Path sharded(Path folder, Map<String, Stored> tensors, String names, int shards)
      throws IOException {
    Files.createDirectories(folder);
    Map<String, String> weightMap = new LinkedHashMap<>();
    long bytes = 0;
    int number = 0;
    for (Map<String, Stored> shard : TestModels.shards(tensors, shards)) {
      String name = String.format(names, ++number);
      TestModels.writeSafeTensors(folder.resolve(name), shard);
      shard.keySet().forEach(tensor -> weightMap.put(tensor, name));
      bytes += shard.values().stream().mapToLong(tensor -> tensor.data().length).sum();
    }
    Files.writeString(folder.resolve(INDEX), TestModels.index(weightMap, bytes));
    Files.writeString(folder.resolve("tokenizer.json"), "{\"of\": \"" + folder + "\"}");
    return folder;
  }

  private Path single(String name, long seed) throws IOException {
    return TestModels.writeSafeTensors(path(name), TestModels.llamaTensors(seed));
  }

  private static void assertSame(Map<String, Stored> expected, Map<String, Stored> actual) {
    assertEquals(expected.keySet(), Map.copyOf(actual).keySet());
    expected.forEach(
        (name, tensor) -> {
          assertEquals(tensor.dtype(), actual.get(name).dtype(), name);
          assertEquals(tensor.shape(), actual.get(name).shape(), name);
          assertArrayEquals(tensor.data(), actual.get(name).data(), name);
        });
  }

  private Result merge(List<Path> inputs, Path output, String options) {
    return run(
        java.util.stream.Stream.of(
                List.of("merge"), inputs, List.of("-o", output), List.of(options.split(" ")))
            .flatMap(List::stream)
            .toArray());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--method linear --weights 2,1",
        "--method slerp --t 0.25",
        "--method task-arithmetic --base BASE",
        "--method ties --base BASE --density 0.3",
        "--method dare --base BASE --density 0.3 --seed 5"
      })
  void foldersGiveWhatFilesGive(String recipe) throws IOException {
    Path one = path("one.safetensors");
    merge(
            List.of(single("a1", 1), single("b1", 2)),
            one,
            recipe.replace("BASE", single("base", 3).toString()))
        .ok();
    String printed = merge(List.of(a, b), out, recipe.replace("BASE", c.toString())).ok().out();
    assertSame(TestCheckpoint.read(one), FolderCommandsTest.readFolder(out));
    // Shards and other files are those of the first.
    assertEquals(files(a), files(out));
    for (String name : List.of("tokenizer.json", "config.json", "generation_config.json")) {
      assertArrayEquals(
          Files.readAllBytes(a.resolve(name)), Files.readAllBytes(out.resolve(name)), name);
    }
    assertTrue(printed.contains("other files copied (4): config.json"), printed);
    for (String shard : TestModels.LLAMA_SHARDS) {
      assertEquals(
          TestCheckpoint.read(a.resolve(shard)).keySet(),
          TestCheckpoint.read(out.resolve(shard)).keySet());
    }
    assertEquals(
        List.of("a", "b", "c.safetensors", "a1", "b1", "base", "one.safetensors", "out").stream()
            .sorted()
            .toList(),
        files(folder));
  }

  @Test
  void theFirstModelSaysWhatIsWritten() throws IOException {
    String linear = "--method linear";
    merge(List.of(c, a), path("file"), linear).ok();
    merge(List.of(a, c), path("folder"), linear).ok();
    merge(List.of(a, c), path("file.safetensors"), linear).ok();
    assertTrue(Files.isRegularFile(path("file")) && Files.isDirectory(path("folder")));
    Map<String, Stored> found = TestCheckpoint.read(path("file.safetensors"));
    assertSame(found, TestCheckpoint.read(path("file")));
    assertSame(found, FolderCommandsTest.readFolder(path("folder")));
  }

  @Test
  void pytorchFoldersBecomeSafetensors() throws IOException {
    Path torch = TestModels.bertOfPyTorch(path("torch"), 1);
    Path safe = TestModels.bert(path("safe"), 2);
    merge(List.of(torch, safe), out, "--method linear --weights 1,3").ok();
    Map<String, Stored> merged = TestCheckpoint.read(out.resolve("model.safetensors"));
    Map<String, Stored> x = TestModels.bertTensors(1);
    Map<String, Stored> y = TestModels.bertTensors(2);
    assertEquals(x.keySet(), merged.keySet());
    merged.forEach(
        (name, tensor) -> {
          float[] found = tensor.floats();
          for (int i = 0; i < found.length; i++) {
            float expected = 0.25f * x.get(name).floats()[i] + 0.75f * y.get(name).floats()[i];
            assertEquals(expected, found[i], name);
          }
        });
    assertEquals(
        List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        files(out));
  }

  @Test
  void whatOnlyTheSecondHasIsCopiedIntoTheLastShard() throws IOException {
    Map<String, Stored> more = new LinkedHashMap<>(TestModels.llamaTensors(2));
    more.put("score.weight", new Stored("F32", List.of(2L, 3L), new byte[24]));
    more.remove("lm_head.weight");
    Path other = sharded(path("other"), more, "model-%d.safetensors", 2);
    merge(List.of(a, other), out, "--method linear")
        .failed(1, "other' lacks 'lm_head.weight'", "a' lacks 'score.weight'");
    merge(List.of(a, other), out, "--method linear --missing copy").ok();
    Map<String, Stored> merged = FolderCommandsTest.readFolder(out);
    assertArrayEquals(
        TestModels.llamaTensors(1).get("lm_head.weight").data(),
        merged.get("lm_head.weight").data());
    assertArrayEquals(new byte[24], merged.get("score.weight").data());
    String index = Files.readString(out.resolve(INDEX));
    assertTrue(index.contains("\"score.weight\" : \"model-00003-of-00003"), index);
    merge(List.of(a, other), out, "--method linear --missing skip --force").ok();
    merged = FolderCommandsTest.readFolder(out);
    assertEquals(TestModels.llamaTensors(1).size() - 1, merged.size());
  }

  @Test
  void nothingIsWrittenIntoAnInput() throws IOException {
    String linear = "--method linear";
    for (Path input : List.of(a, b)) {
      merge(List.of(a, b), input, linear + " --force").failed(1, "is the input itself");
      merge(List.of(a, b), input.resolve("out"), linear).failed(1, "lies inside the input");
      merge(List.of(a, b), input.resolve("out.safetensors"), linear)
          .failed(1, "lies inside the input");
      merge(List.of(c, a, b), input.resolve("out"), linear).failed(1, "lies inside the input");
      merge(List.of(a, b), out, linear + " --report " + input.resolve("report.json"))
          .failed(1, "lies inside the input");
    }
    merge(List.of(a), b.resolve("o"), "--method task-arithmetic --base " + b)
        .failed(1, "lies inside the input");
    merge(List.of(a, b), folder, linear + " --force").failed(1, "contains the input");
    Path inside = Files.copy(c, Files.createDirectory(path("around")).resolve("model.safetensors"));
    merge(List.of(a, inside), path("around"), linear + " --force")
        .failed(1, "lies inside the output");
    assertEquals(List.of("a", "around", "b", "c.safetensors"), files(folder));
    assertEquals(List.of("model.safetensors"), files(path("around")));
    assertSame(TestModels.llamaTensors(1), FolderCommandsTest.readFolder(a));
    assertSame(TestModels.llamaTensors(2), FolderCommandsTest.readFolder(b));
  }

  @Test
  void aModelThatIsDamagedLeavesNothing() throws IOException {
    Path shard = b.resolve("model-00003-of-00005.safetensors");
    byte[] content = Files.readAllBytes(shard);
    Files.write(shard, java.util.Arrays.copyOf(content, content.length - 1));
    merge(List.of(a, b), out, "--method linear").failed(1, "model-00003-of-00005");
    Files.delete(shard);
    merge(List.of(a, b), out, "--method linear").failed(1, "model-00003-of-00005");
    Files.writeString(b.resolve(INDEX), "{\"weight_map\": {\"x\": \"../c.safetensors\"}}");
    merge(List.of(a, b), out, "--method linear").failed(1, "../c.safetensors");
    assertEquals(List.of("a", "b", "c.safetensors"), files(folder));
  }

  @Test
  void theReportNamesTheFiles() throws IOException {
    Files.writeString(a.resolve("pytorch_model.bin"), "stale");
    Path report = path("report.json");
    merge(List.of(a, b), out, "--method linear --dry-run --report " + report).ok();
    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals(
        List.of("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        json.get("files_copied"));
    assertEquals(List.of("pytorch_model.bin"), json.get("files_not_copied"));
    merge(List.of(a, b), path("o.safetensors"), "--method linear --force --report " + report).ok();
    json = JsonText.object(Files.readString(report));
    assertEquals(List.of(), json.get("files_copied"));
  }
}
