package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.io.TestModels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code optimize --format compressed-tensors} on the folders of a Llama and a BERT: schema,
 * configuration, refusals, and the way back. tests/e2e/compressed_tensors.py checks the values.
 */
class CompressedTensorsFolderTest extends CommandLineTest {
  private static final List<String> HOW = List.of("--format", "compressed-tensors");

  private Result optimize(Path in, Path out, Object... more) {
    return run(
        Stream.of(Stream.of("optimize", in, out), HOW.stream(), Stream.of(more))
            .<Object>flatMap(part -> part)
            .toArray());
  }

  private static Map<String, Object> config(Path folder) throws IOException {
    return JsonText.object(Files.readString(folder.resolve("config.json")));
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> object(Map<String, Object> of, String... path) {
    Map<String, Object> found = of;
    for (String name : path) {
      found = (Map<String, Object>) found.get(name);
    }
    return found;
  }

  private static Map<String, Object> quantization(Path folder) throws IOException {
    return object(config(folder), "quantization_config");
  }

  private static Map<String, Object> arguments(
      int bits, String type, String strategy, Long group, boolean dynamic) {
    Map<String, Object> arguments = new LinkedHashMap<>();
    arguments.put("num_bits", (long) bits);
    arguments.put("type", type);
    arguments.put("symmetric", true);
    arguments.put("strategy", strategy);
    arguments.put("group_size", group);
    arguments.put("block_structure", null);
    arguments.put("dynamic", dynamic);
    arguments.put("actorder", null);
    return arguments;
  }

  private static Set<String> llamaLayers() {
    return TestModels.llamaTensors(1).keySet().stream()
        .filter(name -> name.contains("_proj."))
        .map(name -> name.substring(0, name.length() - ".weight".length()))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  @ParameterizedTest
  @CsvSource({
    "int8,,int-quantized,int,channel",
    "int8,tensor,int-quantized,int,tensor",
    "int4,,pack-quantized,int,group",
    "int4,channel,pack-quantized,int,channel",
    "int4,group=32,pack-quantized,int,group",
    "fp8,,float-quantized,float,channel",
    "fp8,tensor,float-quantized,float,tensor"
  })
  void aLlamaInShards(String kind, String granularity, String format, String type, String strategy)
      throws IOException {
    Path in = TestModels.llama(path("in"), 1);
    Path out = path("out");
    Object[] more =
        granularity == null
            ? new Object[] {"--quantize", kind}
            : new Object[] {"--quantize", kind, "--granularity", granularity};
    String printed = optimize(in, out, more).ok().out();
    assertTrue(printed.contains("14 touched"), printed);
    assertFalse(printed.contains("note"), printed);
    assertEquals(files(in), files(out));

    Map<String, Object> quantization = quantization(out);
    assertEquals("compressed-tensors", quantization.get("quant_method"));
    assertEquals(format, quantization.get("format"));
    assertEquals("compressed", quantization.get("quantization_status"));
    assertEquals(List.of("lm_head"), quantization.get("ignore"));
    assertTrue(quantization.containsKey("kv_cache_scheme"));
    assertEquals(null, quantization.get("kv_cache_scheme"));
    Map<String, Object> groups = object(quantization, "config_groups");
    assertEquals(Set.of("group_0"), groups.keySet());
    Map<String, Object> group = object(groups, "group_0");
    assertEquals(List.of("Linear"), group.get("targets"));
    int bits = kind.equals("int4") ? 4 : 8;
    Long size = !strategy.equals("group") ? null : granularity == null ? 128L : 32L;
    assertEquals(arguments(bits, type, strategy, size, false), group.get("weights"));
    assertEquals(
        bits == 4 ? null : arguments(8, type, "token", null, true), group.get("input_activations"));
    assertEquals(null, group.get("output_activations"));
    Map<String, Object> rest = new LinkedHashMap<>(config(out));
    rest.remove("quantization_config");
    assertEquals(config(in), rest);
    assertTrue(Files.readString(out.resolve("config.json")).contains("\"rms_norm_eps\": 1e-05"));

    Map<String, Stored> before = TestModels.llamaTensors(1);
    Map<String, Stored> after = FolderCommandsTest.readFolder(out);
    Set<String> expected = new TreeSet<>(before.keySet());
    for (String layer : llamaLayers()) {
      List<Long> shape = before.get(layer + ".weight").shape();
      long rows = shape.get(0);
      long cols = shape.get(1);
      List<Long> scales =
          switch (strategy) {
            case "tensor" -> List.of(1L);
            case "channel" -> List.of(rows, 1L);
            default -> List.of(rows, cols / size);
          };
      assertEquals("BF16", after.get(layer + ".weight_scale").dtype());
      assertEquals(scales, after.get(layer + ".weight_scale").shape());
      expected.add(layer + ".weight_scale");
      if (bits == 4) {
        assertEquals("I32", after.get(layer + ".weight_packed").dtype());
        assertEquals(List.of(rows, cols / 8), after.get(layer + ".weight_packed").shape());
        assertEquals(List.of(2L), after.get(layer + ".weight_shape").shape());
        expected.remove(layer + ".weight");
        expected.addAll(List.of(layer + ".weight_packed", layer + ".weight_shape"));
      } else {
        String dtype = type.equals("int") ? "I8" : "F8_E4M3";
        assertEquals(dtype, after.get(layer + ".weight").dtype());
        assertEquals(shape, after.get(layer + ".weight").shape());
      }
    }
    assertEquals(expected, new TreeSet<>(after.keySet()));
    for (String name : List.of("lm_head.weight", "model.embed_tokens.weight")) {
      assertArrayEquals(before.get(name).data(), after.get(name).data(), name);
    }

    // The way back, at most half a step from where it began.
    run("compare", in, out).ok();
    Path back = path("back");
    run("convert", out, back, "--dense").ok();
    assertEquals(
        Files.readString(in.resolve("config.json")), Files.readString(back.resolve("config.json")));
    Map<String, Stored> plain = FolderCommandsTest.readFolder(back);
    assertEquals(before.keySet(), plain.keySet());
    for (String shard : TestModels.LLAMA_SHARDS) {
      assertEquals(
          TestCheckpoint.read(in.resolve(shard)).keySet(),
          TestCheckpoint.read(back.resolve(shard)).keySet());
    }
    before.forEach(
        (name, tensor) -> {
          Stored found = plain.get(name);
          assertEquals(tensor.dtype(), found.dtype(), name);
          double[] a = Numbers.decode(DType.BF16, tensor.data());
          double[] b = Numbers.decode(DType.BF16, found.data());
          for (int i = 0; i < a.length; i++) {
            assertEquals(a[i], b[i], kind.equals("int4") ? 0.02 : 0.006, name);
          }
        });
    run("optimize", out, path("again"), "--prune", "nm=2:4").failed(1, "is already quantized");
    optimize(out, path("again"), "--quantize", "int8")
        .failed(1, "config.json' has a quantization_config already");
    run("inspect", out).ok();
  }

  @Test
  void aBertInOneFileHasRowsThatNoGroupDivides() throws IOException {
    for (Path in : List.of(TestModels.bert(path("a"), 2), TestModels.bertOfPyTorch(path("b"), 2))) {
      Path out = path("out");
      String printed = optimize(in, out, "--quantize", "int4", "--force").ok().out();
      assertTrue(printed.contains("note      groups of 128 do not divide the rows of"), printed);
      Map<String, Object> quantization = quantization(out);
      assertEquals(List.of("bert.pooler.dense", "classifier"), quantization.get("ignore"));
      Map<String, Object> groups = object(quantization, "config_groups");
      assertEquals(
          arguments(4, "int", "group", 128L, false), object(groups, "group_0").get("weights"));
      assertEquals(
          arguments(4, "int", "channel", null, false), object(groups, "group_1").get("weights"));
      List<String> layers =
          Stream.of(
                  "attention.self.query",
                  "attention.self.key",
                  "attention.self.value",
                  "attention.output.dense",
                  "intermediate.dense",
                  "output.dense",
                  "attention.self.qkv_proj")
              .map(name -> "bert.encoder.layer.0." + name)
              .toList();
      assertEquals(layers, object(groups, "group_1").get("targets"));
      Map<String, Stored> after = TestCheckpoint.read(out.resolve("model.safetensors"));
      String layer = "bert.encoder.layer.0.output.dense.weight";
      assertEquals(List.of(48L, 12L), after.get(layer + "_packed").shape());
      assertEquals("F32", after.get(layer + "_scale").dtype());
      assertEquals(List.of(48L, 1L), after.get(layer + "_scale").shape());
      assertEquals("F32", after.get("bert.pooler.dense.weight").dtype());
      run("compare", in, out).ok();
      printed =
          optimize(in, out, "--quantize", "int4", "--granularity", "group=16", "--force")
              .ok()
              .out();
      assertFalse(printed.contains("note"), printed);
    }
  }

  /** A checkpoint of two Linear layers under a configuration of choice. */
  private Path folder(String name, String config, String... tensors) throws IOException {
    Path folder = Files.createDirectory(path(name));
    TestCheckpoint model = new TestCheckpoint();
    for (String tensor : tensors) {
      model.floats(tensor, TestCheckpoint.weights(tensor.length(), 64), 4, 16);
    }
    model.write(folder.resolve("model.safetensors"));
    Files.writeString(folder.resolve("config.json"), config);
    return folder;
  }

  private static final String LLAMA = "{\"architectures\": [\"LlamaForCausalLM\"]}";
  private static final String Q = "model.layers.0.self_attn.q_proj";
  private static final String K = "model.layers.0.self_attn.k_proj";
  private static final String DOWN = "model.layers.0.mlp.down_proj";

  @Test
  void whatIsLeftAloneIsInIgnore() throws IOException {
    Path in =
        folder(
            "in",
            LLAMA,
            Q + ".weight",
            K + ".weight",
            DOWN + ".weight",
            "model.layers.0.extra.weight",
            "model.embed_tokens.weight");
    Path out = path("out");
    Path report = path("report.json");
    String printed =
        optimize(in, out, "--quantize", "int8", "--skip", "*.k_proj.*", "--report", report)
            .ok()
            .out();
    assertTrue(printed.contains("'" + K + "' is not quantized, but layers are that vLLM"), printed);
    List<Object> ignore = List.of(K, "model.layers.0.extra", "lm_head");
    assertEquals(ignore, quantization(out).get("ignore"));
    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals("compressed-tensors", json.get("format"));
    assertEquals(ignore, json.get("ignored_layers"));
    assertEquals(1, ((List<?>) json.get("notes")).size());
    assertEquals(
        "not a Linear layer inside of Llama's blocks",
        JsonText.named(json, "tensors", "model.layers.0.extra.weight").get("reason"));
    assertEquals(
        "matches --skip *.k_proj.*", JsonText.named(json, "tensors", K + ".weight").get("reason"));
    assertEquals("I8", JsonText.named(json, "tensors", Q + ".weight").get("output_dtype"));
    // Scales have the type of the tensors where the configuration states none.
    assertEquals(
        "F32",
        TestCheckpoint.read(out.resolve("model.safetensors")).get(Q + ".weight_scale").dtype());
    optimize(in, out, "--quantize", "int8", "--targets", "*.extra.*", "--force").ok();
    assertEquals(List.of("lm_head"), quantization(out).get("ignore"));
  }

  @Test
  void scalesHaveTheTypeThatLoadersGiveTheModel() throws IOException {
    String config = "{\"architectures\": [\"LlamaModel\"], \"dtype\": \"float16\"}";
    Path in = folder("in", config, "layers.0.self_attn.q_proj.weight");
    optimize(in, path("out"), "--quantize", "int8").ok();
    Map<String, Stored> after = TestCheckpoint.read(path("out").resolve("model.safetensors"));
    assertEquals("F16", after.get("layers.0.self_attn.q_proj.weight_scale").dtype());
    assertEquals(List.of(), quantization(path("out")).get("ignore"));
    run("convert", path("out"), path("back"), "--dequantize").ok();
    after = TestCheckpoint.read(path("back").resolve("model.safetensors"));
    assertEquals("F16", after.get("layers.0.self_attn.q_proj.weight").dtype());
  }

  @Test
  void prunedWeightsAreZeros() throws IOException {
    Path in = TestModels.llama(path("in"), 5);
    optimize(in, path("out"), "--prune", "nm=2:4", "--quantize", "int8").ok();
    Map<String, Stored> after = FolderCommandsTest.readFolder(path("out"));
    byte[] q = after.get(Q + ".weight").data();
    for (int i = 0; i < q.length; i += 4) {
      int zeros = 0;
      for (int j = i; j < i + 4; j++) {
        zeros += q[j] == 0 ? 1 : 0;
      }
      assertTrue(zeros >= 2, "at " + i);
    }
    assertArrayEquals(
        TestModels.llamaTensors(5).get("lm_head.weight").data(),
        after.get("lm_head.weight").data());
  }

  @Test
  void unknownArchitecturesNeedTargets() throws IOException {
    String config = "{\"architectures\": [\"FooForCausalLM\"], \"model_type\": \"llama\"}";
    Path in = folder("in", config, Q + ".weight", "h.0.fc.weight", "wte.weight", "lm_head.weight");
    Path out = path("out");
    optimize(in, out, "--quantize", "int8")
        .failed(1, "'FooForCausalLM', which Sinew does not know", "with --targets");
    optimize(in, out, "--quantize", "int8", "--targets", "wte*")
        .failed(1, "has no weights of Linear layers to quantize");
    optimize(in, out, "--quantize", "int8", "--targets", "h.*").ok();
    assertEquals(List.of(Q, "lm_head"), quantization(out).get("ignore"));
    optimize(in, out, "--quantize", "int8", "--targets", "*", "--force").ok();
    assertEquals(List.of("lm_head"), quantization(out).get("ignore"));
    Files.writeString(in.resolve("config.json"), "{}");
    optimize(in, out, "--quantize", "int8", "--force").failed(1, "names no architecture");
    Files.writeString(in.resolve("config.json"), "{\"model_type\": \"llama\"}");
    optimize(in, out, "--quantize", "int8", "--force").ok();
    assertEquals(List.of("h.0.fc", "lm_head"), quantization(out).get("ignore"));
  }

  /** Such a name in the list of ignored layers would match them all, or hang a loader. */
  @Test
  void aNameThatLoadersTakeForAPatternIsRefused() throws IOException {
    for (String name : List.of("re:.*.weight", "re:(a+)+$.weight")) {
      Path in = folder(name, LLAMA, Q + ".weight", name);
      optimize(in, path("out"), "--quantize", "int8").failed(1, "for a pattern of names");
    }
  }

  @Test
  void theTransposedWeightsOfGpt2AreNotLinear() throws IOException {
    Path in = folder("in", "{\"architectures\": [\"GPT2LMHeadModel\"]}", "h.0.attn.c_attn.weight");
    for (String[] more : new String[][] {{}, {"--targets", "*c_attn*"}}) {
      Object[] arguments =
          Stream.concat(Stream.of("--quantize", "int8"), Stream.of(more)).toArray();
      optimize(in, path("out"), arguments).failed(1, "'GPT2LMHeadModel'", "Conv1D");
    }
    assertEquals(List.of("in"), files(folder));
  }

  @Test
  void inputsThatAreRefused() throws IOException {
    Path in = TestModels.llama(path("in"), 1);
    Path out = path("out");
    Path file = TestCheckpoint.model().write(path("file"));
    optimize(file, out, "--quantize", "int8").failed(1, "is a single file", "such a folder");
    optimize(in, path("o.safetensors"), "--quantize", "int8").failed(1, "would become a single");
    String plain = Files.readString(in.resolve("config.json"));
    Files.writeString(
        in.resolve("config.json"), plain.replaceFirst("\\{", "{\"quantization_config\": {},"));
    optimize(in, out, "--quantize", "int8").failed(1, "has a quantization_config already");
    Files.writeString(in.resolve("config.json"), "[]");
    optimize(in, out, "--quantize", "int8").failed(1, "is no valid configuration of a model");
    Files.delete(in.resolve("config.json"));
    optimize(in, out, "--quantize", "int8").failed(1, "has no config.json");
    assertEquals(List.of("file", "in"), files(folder));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--format compressed-tensors --prune nm=2:4",
        "--format other --quantize int8",
        "--format compressed-tensors --quantize int8 --asymmetric",
        "--format compressed-tensors --quantize int8 --granularity group=32",
        "--format compressed-tensors --quantize int4 --granularity tensor",
        "--format compressed-tensors --quantize int8 --sparse-format bitmap",
        "--format compressed-tensors --cluster bits=4"
      })
  void usageThatDoesNotGoTogether(String options) throws IOException {
    Path in = TestModels.llama(path("in"), 1);
    Stream<Object> all =
        Stream.concat(
            Stream.of("optimize", in, path("out")), Stream.of((Object[]) options.split(" ")));
    run(all.toArray()).failed(2, "");
    assertEquals(List.of("in"), files(folder));
  }

  @Test
  void aDryRunWritesNothing() throws IOException {
    Path in = TestModels.llama(path("in"), 1);
    Path report = path("report.json");
    optimize(in, path("out"), "--quantize", "int4", "--dry-run", "--report", report).ok();
    assertEquals(List.of("in", "report.json"), files(folder));
    Map<String, Object> json = JsonText.object(Files.readString(report));
    assertEquals(List.of("lm_head"), json.get("ignored_layers"));
    long bytes = (long) json.get("output_bytes");
    optimize(in, path("out"), "--quantize", "int4", "--report", report, "--force").ok();
    assertEquals(bytes, JsonText.object(Files.readString(report)).get("output_bytes"));
  }

  @Test
  void theResultDoesNotDependOnThreads() throws IOException {
    Path in = TestModels.llama(path("in"), 1);
    optimize(in, path("one"), "--quantize", "int4", "--range", "mse", "--threads", 1).ok();
    optimize(in, path("five"), "--quantize", "int4", "--range", "mse", "--threads", 5).ok();
    for (String name : files(path("one"))) {
      assertEquals(-1, Files.mismatch(path("one").resolve(name), path("five").resolve(name)), name);
    }
  }
}
