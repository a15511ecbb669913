package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.io.TestModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The commands on the folders of models. */
class FolderCommandsTest extends CommandLineTest {
  private static final String INDEX = "model.safetensors.index.json";

  private Path in;
  private Path out;

  @BeforeEach
  void model() throws IOException {
    in = TestModels.llama(path("in"), 1);
    out = path("out");
  }

  /** The tensors of all shards, by an independent reader, as the index says. */
  @SuppressWarnings("unchecked")
  static Map<String, Stored> readFolder(Path folder) throws IOException {
    Map<String, Object> index = JsonText.object(Files.readString(folder.resolve(INDEX)));
    Map<String, Stored> tensors = new LinkedHashMap<>();
    long bytes = 0;
    for (Map.Entry<String, Object> entry :
        ((Map<String, Object>) index.get("weight_map")).entrySet()) {
      Path shard = folder.resolve((String) entry.getValue());
      Stored tensor = TestCheckpoint.read(shard).get(entry.getKey());
      tensors.put(entry.getKey(), tensor);
      bytes += tensor.data().length;
    }
    assertEquals(bytes, ((Map<String, Object>) index.get("metadata")).get("total_size"));
    return tensors;
  }

  private static void assertSame(Map<String, Stored> expected, Map<String, Stored> actual) {
    assertEquals(Map.copyOf(expected).keySet(), actual.keySet());
    expected.forEach(
        (name, tensor) -> {
          assertEquals(tensor.dtype(), actual.get(name).dtype(), name);
          assertEquals(tensor.shape(), actual.get(name).shape(), name);
          assertArrayEquals(tensor.data(), actual.get(name).data(), name);
        });
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--prune threshold=0.01",
        "--prune sparsity=0.6",
        "--prune sparsity=0.6,scope=tensor",
        "--prune nm=2:4",
        "--quantize int8",
        "--quantize int8 --granularity tensor --asymmetric --range percentile=99.5",
        "--quantize int4 --granularity group=32 --range mse",
        "--prune sparsity=0.5 --quantize int4 --granularity group=16 --asymmetric",
        "--prune sparsity=0.7 --sparse-format bitmap"
      })
  void aFolderGivesWhatOneFileGives(String recipe) throws IOException {
    Path one = TestModels.writeSafeTensors(path("one"), TestModels.llamaTensors(1));
    Stream<Object> how = Stream.of((Object[]) recipe.split(" "));
    List<Object> options = how.toList();
    run(Stream.concat(Stream.of("optimize", one, path("one-out")), options.stream()).toArray())
        .ok();
    run(Stream.concat(Stream.of("optimize", in, out), options.stream()).toArray()).ok();
    assertSame(TestCheckpoint.read(path("one-out")), readFolder(out));
    assertEquals(files(in), files(out));
    for (String shard : TestModels.LLAMA_SHARDS) {
      assertEquals(
          TestCheckpoint.readMetadata(path("one-out")),
          TestCheckpoint.readMetadata(out.resolve(shard)));
    }
  }

  @Test
  void convertMakesFoldersOfPyTorchSafetensorsAndMergesThem() throws IOException {
    Path torch = TestModels.bertOfPyTorch(path("torch"), 2);
    Files.writeString(torch.resolve("flax_model.msgpack"), "stale");
    String printed = run("convert", torch, out).ok().out();
    assertTrue(printed.contains("other files copied (3): config.json, tokenizer.json"), printed);
    assertTrue(
        printed.contains("not copied, as they hold the old weights (1): flax_model.msgpack"),
        printed);
    assertSame(TestModels.bertTensors(2), TestCheckpoint.read(out.resolve("model.safetensors")));
    Path merged = path("merged.safetensors");
    printed = run("convert", in, merged).ok().out();
    assertTrue(printed.contains("(safetensors in 3 shards) -> "), printed);
    assertFalse(printed.contains("copied"), printed);
    assertSame(TestModels.llamaTensors(1), TestCheckpoint.read(merged));
    run("compare", in, merged).ok();
    run("optimize", in, path("small.safetensors"), "--quantize", "int8").ok();
    run("compare", in, path("small.safetensors")).ok();
  }

  @Test
  void inspectAndCompareTakeFolders() throws IOException {
    Map<String, Object> json = run("inspect", in, "--json").ok().json();
    assertEquals(in.toString(), json.get("file"));
    assertEquals("safetensors in 3 shards", json.get("format"));
    assertEquals(TestModels.llamaTensors(1).size(), JsonText.list(json, "tensors").size());
    run("optimize", in, out, "--quantize", "int4", "--granularity", "group=32").ok();
    Map<String, Object> compared = run("compare", in, out, "--json").ok().json();
    assertEquals(true, compared.get("comparable"));
    assertEquals(TestModels.llamaTensors(1).size(), JsonText.list(compared, "tensors").size());
  }

  @Test
  void reportAndDryRunNameTheFiles() throws IOException {
    Files.writeString(in.resolve("pytorch_model.bin"), "stale");
    Path report = path("report.json");
    String printed =
        run("optimize", in, out, "--quantize", "int8", "--dry-run", "--report", report).ok().out();
    assertTrue(printed.contains("(1): pytorch_model.bin"), printed);
    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals(
        List.of("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        json.get("files_copied"));
    assertEquals(List.of("pytorch_model.bin"), json.get("files_not_copied"));
    assertEquals(List.of("in", "report.json"), files(folder));
    run("optimize", in, out, "--quantize", "int8", "--report", report, "--force").ok();
    assertEquals(List.of("in", "out", "report.json"), files(folder));
    assertFalse(files(out).contains("pytorch_model.bin"));
    run("optimize", in, path("o.safetensors"), "--quantize", "int8", "--report", path("r")).ok();
    json = JsonText.object(Files.readString(path("r")));
    assertEquals(List.of(), json.get("files_copied"));
  }

  @Test
  void aFolderAndAFileAreNotMistakenForEachOther() throws IOException {
    Path file = TestCheckpoint.model().write(path("file"));
    String[] how = {"--prune", "nm=2:4"};
    run("optimize", in, file, how[0], how[1]).failed(1, "is a file, but the input is a folder");
    run("convert", in, file, "--force").failed(1, "is a file, but the input is a folder");
    Path directory = Files.createDirectory(path("dir.safetensors"));
    run("convert", in, directory).failed(1, "is a folder; give the name of a file to write");
    run("optimize", file, directory, how[0], how[1]).failed(1, "is a folder; give the name of");
    assertEquals(List.of("dir.safetensors", "file", "in"), files(folder));
  }

  @Test
  void aNameThatIsTooLongIsRefusedAtOnce() throws IOException {
    run("convert", in, path("y".repeat(256))).failed(1, "File name too long", "at most 255 bytes");
    run("convert", in, path("y".repeat(256)), "--force").failed(1, "at most 255 bytes");
    assertEquals(List.of("in"), files(folder));
    run("convert", in, path("y".repeat(255))).ok();
  }

  @Test
  void nothingIsWrittenIntoTheInput() throws IOException {
    List<String> before = files(in);
    String shard = TestModels.LLAMA_SHARDS.get(0);
    run("convert", in, in.resolve(shard), "--force").failed(1, "lies inside the input");
    run("convert", in, in.resolve("new.safetensors")).failed(1, "lies inside the input");
    run("convert", in, in.resolve("new")).failed(1, "lies inside the input");
    run("convert", in, in, "--force").failed(1, "is the input itself");
    run("optimize", in, in.resolve("o"), "--quantize", "int8", "--dry-run")
        .failed(1, "lies inside the input");
    run("optimize", in, out, "--quantize", "int8", "--report", in.resolve(shard), "--force")
        .failed(1, "lies inside the input");
    assertEquals(before, files(in));
    assertSame(TestModels.llamaTensors(1), readFolder(in));
    assertEquals(List.of("in"), files(folder));
  }

  @Test
  void anExistingFolderIsReplacedOnlyByForce() throws IOException {
    TestModels.bert(out, 3);
    run("optimize", in, out, "--quantize", "int8").failed(1, "exists already", "--force");
    assertTrue(files(out).contains("model.safetensors"));
    run("optimize", in, out, "--quantize", "int8", "--force").ok();
    assertEquals(files(in), files(out));
    Files.createDirectory(path("mine"));
    Files.writeString(path("mine").resolve("thesis.txt"), "years");
    run("optimize", in, path("mine"), "--quantize", "int8", "--force")
        .failed(1, "is not replaced, even with --force");
    assertEquals(List.of("thesis.txt"), files(path("mine")));
  }
}
