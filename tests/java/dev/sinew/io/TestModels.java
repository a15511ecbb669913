package dev.sinew.io;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.cli.TestCheckpoint;
import dev.sinew.cli.TestCheckpoint.Stored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Tiny models in the folders that Hugging Face's tools write, the same for the same seed and
 * without any of the code under test: a Llama of two layers in BF16 and three shards, and a BERT of
 * one layer in F32 and one file.
 */
public final class TestModels {
  /** Names of the shards of {@link #llama}. */
  public static final List<String> LLAMA_SHARDS =
      List.of(
          "model-00001-of-00003.safetensors",
          "model-00002-of-00003.safetensors",
          "model-00003-of-00003.safetensors");

  private static final String INDEX = "model.safetensors.index.json";

  private TestModels() {}

  /**
   * Creates the folder of a Llama: three safetensors shards with their index, config.json,
   * generation_config.json, tokenizer.json and tokenizer_config.json.
   */
  public static Path llama(Path folder, long seed) throws IOException {
    Files.createDirectories(folder);
    Map<String, Stored> tensors = llamaTensors(seed);
    List<Map<String, Stored>> shards = shards(tensors, LLAMA_SHARDS.size());
    Map<String, String> weightMap = new LinkedHashMap<>();
    for (int i = 0; i < shards.size(); i++) {
      String name = LLAMA_SHARDS.get(i);
      writeSafeTensors(folder.resolve(name), shards.get(i));
      shards.get(i).keySet().forEach(tensor -> weightMap.put(tensor, name));
    }
    Files.writeString(folder.resolve(INDEX), index(weightMap, bytes(tensors)));
    writeConfiguration(
        folder,
        """
        {
          "architectures": ["LlamaForCausalLM"],
          "hidden_act": "silu",
          "hidden_size": 128,
          "intermediate_size": 256,
          "max_position_embeddings": 64,
          "model_type": "llama",
          "num_attention_heads": 4,
          "num_hidden_layers": 2,
          "num_key_value_heads": 2,
          "rms_norm_eps": 1e-05,
          "rope_theta": 10000.0,
          "tie_word_embeddings": false,
          "torch_dtype": "bfloat16",
          "vocab_size": 160
        }
        """);
    Files.writeString(
        folder.resolve("generation_config.json"),
        "{\"bos_token_id\": 1, \"eos_token_id\": 2, \"do_sample\": true, \"temperature\": 0.6}\n");
    return folder;
  }

  /** Creates the folder of a BERT with its weights in model.safetensors. */
  public static Path bert(Path folder, long seed) throws IOException {
    Files.createDirectories(folder);
    writeSafeTensors(folder.resolve("model.safetensors"), bertTensors(seed));
    writeBertConfiguration(folder);
    return folder;
  }

  /** Creates the folder of the same BERT with its weights in pytorch_model.bin. */
  public static Path bertOfPyTorch(Path folder, long seed) throws IOException {
    Files.createDirectories(folder);
    writePyTorch(folder.resolve("pytorch_model.bin"), bertTensors(seed));
    writeBertConfiguration(folder);
    return folder;
  }

  /** Writes the tensors to one safetensors file, as the model would be without shards. */
  public static Path writeSafeTensors(Path file, Map<String, Stored> tensors) throws IOException {
    TestCheckpoint checkpoint = new TestCheckpoint().metadata("format", "pt");
    tensors.forEach(
        (name, tensor) ->
            checkpoint.add(
                name,
                tensor.dtype(),
                tensor.data(),
                tensor.shape().stream().mapToLong(Long::longValue).toArray()));
    return checkpoint.write(file);
  }

  /** Writes F32, BF16 and I64 tensors as {@code torch.save(state_dict)} does. */
  public static Path writePyTorch(Path file, Map<String, Stored> tensors) throws IOException {
    PickleBuilder pickle = new PickleBuilder().orderedDict().op('(');
    int key = 0;
    for (Map.Entry<String, Stored> entry : tensors.entrySet()) {
      Stored tensor = entry.getValue();
      long[] shape = tensor.shape().stream().mapToLong(Long::longValue).toArray();
      long[] stride = new long[shape.length];
      long elements = 1;
      for (int d = shape.length - 1; d >= 0; d--) {
        stride[d] = elements;
        elements *= shape[d];
      }
      String type =
          switch (tensor.dtype()) {
            case "F32" -> "FloatStorage";
            case "BF16" -> "BFloat16Storage";
            case "I64" -> "LongStorage";
            default -> throw new IllegalArgumentException(tensor.dtype());
          };
      pickle.text(entry.getKey()).tensor(type, "" + key++, elements, 0, shape, stride);
    }
    TorchZip zip = TorchZip.of(pickle.op('u').stop());
    key = 0;
    for (Stored tensor : tensors.values()) {
      zip.storage("" + key++, tensor.data());
    }
    return Files.write(file, zip.bytes());
  }

  /** The text of an index file. */
  public static String index(Map<String, String> weightMap, long totalSize) {
    List<String> entries = new ArrayList<>();
    weightMap.forEach((tensor, file) -> entries.add("    \"" + tensor + "\": \"" + file + "\""));
    return "{\n  \"metadata\": {\n    \"total_size\": "
        + totalSize
        + "\n  },\n  \"weight_map\": {\n"
        + String.join(",\n", entries)
        + "\n  }\n}\n";
  }

  /** Cuts a model into shards of about the same number of tensors, in order. */
  public static List<Map<String, Stored>> shards(Map<String, Stored> tensors, int count) {
    List<Map<String, Stored>> shards = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      shards.add(new LinkedHashMap<>());
    }
    int position = 0;
    for (Map.Entry<String, Stored> entry : tensors.entrySet()) {
      shards.get(position++ * count / tensors.size()).put(entry.getKey(), entry.getValue());
    }
    return shards;
  }

  /** The tensors of {@link #llama}. */
  public static Map<String, Stored> llamaTensors(long seed) {
    Maker maker = new Maker(seed, DType.BF16);
    maker.weight("model.embed_tokens.weight", 160, 128);
    for (int layer = 0; layer < 2; layer++) {
      String prefix = "model.layers." + layer + ".";
      maker.ones(prefix + "input_layernorm.weight", 128);
      maker.weight(prefix + "mlp.down_proj.weight", 128, 256);
      maker.weight(prefix + "mlp.gate_proj.weight", 256, 128);
      maker.weight(prefix + "mlp.up_proj.weight", 256, 128);
      maker.ones(prefix + "post_attention_layernorm.weight", 128);
      maker.weight(prefix + "self_attn.k_proj.weight", 64, 128);
      maker.weight(prefix + "self_attn.o_proj.weight", 128, 128);
      maker.weight(prefix + "self_attn.q_proj.weight", 128, 128);
      maker.weight(prefix + "self_attn.v_proj.weight", 64, 128);
    }
    maker.ones("model.norm.weight", 128);
    maker.weight("lm_head.weight", 160, 128);
    return maker.tensors;
  }

  /** The tensors of {@link #bert} and {@link #bertOfPyTorch}. */
  public static Map<String, Stored> bertTensors(long seed) {
    Maker maker = new Maker(seed, DType.F32);
    String embeddings = "bert.embeddings.";
    maker.weight(embeddings + "word_embeddings.weight", 60, 48);
    maker.weight(embeddings + "position_embeddings.weight", 32, 48);
    maker.weight(embeddings + "token_type_embeddings.weight", 2, 48);
    maker.ones(embeddings + "LayerNorm.weight", 48);
    maker.weight(embeddings + "LayerNorm.bias", 48);
    String layer = "bert.encoder.layer.0.";
    for (String name : List.of("query", "key", "value")) {
      maker.linear(layer + "attention.self." + name, 48, 48);
    }
    maker.linear(layer + "attention.output.dense", 48, 48);
    maker.ones(layer + "attention.output.LayerNorm.weight", 48);
    maker.weight(layer + "attention.output.LayerNorm.bias", 48);
    maker.linear(layer + "intermediate.dense", 96, 48);
    maker.linear(layer + "output.dense", 48, 96);
    maker.ones(layer + "output.LayerNorm.weight", 48);
    maker.weight(layer + "output.LayerNorm.bias", 48);
    maker.linear("bert.pooler.dense", 48, 48);
    maker.linear("classifier", 2, 48);
    return maker.tensors;
  }

  private static long bytes(Map<String, Stored> tensors) {
    return tensors.values().stream().mapToLong(tensor -> tensor.data().length).sum();
  }

  private static void writeBertConfiguration(Path folder) throws IOException {
    writeConfiguration(
        folder,
        """
        {
          "architectures": ["BertForSequenceClassification"],
          "hidden_act": "gelu",
          "hidden_size": 48,
          "intermediate_size": 96,
          "max_position_embeddings": 32,
          "model_type": "bert",
          "num_attention_heads": 4,
          "num_hidden_layers": 1,
          "torch_dtype": "float32",
          "type_vocab_size": 2,
          "vocab_size": 60
        }
        """);
  }

  private static void writeConfiguration(Path folder, String config) throws IOException {
    Files.writeString(folder.resolve("config.json"), config);
    Files.writeString(
        folder.resolve("tokenizer.json"),
        "{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\", \"vocab\": {\"<unk>\": 0, \"a\": 1},"
            + " \"merges\": []}}\n");
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"model_max_length\": 64, \"unk\": \"<unk>\"}\n");
  }

  /** Draws the values of one model. */
  private static final class Maker {
    private final Map<String, Stored> tensors = new LinkedHashMap<>();
    private final Random random;
    private final DType dtype;

    Maker(long seed, DType dtype) {
      this.random = new Random(seed);
      this.dtype = dtype;
    }

    /** Normal values of standard deviation 0.02. */
    void weight(String name, long... shape) {
      double[] values = new double[(int) elements(shape)];
      for (int i = 0; i < values.length; i++) {
        values[i] = 0.02 * random.nextGaussian();
      }
      put(name, values, shape);
    }

    void ones(String name, long size) {
      double[] values = new double[(int) size];
      java.util.Arrays.fill(values, 1);
      put(name, values, size);
    }

    void linear(String name, long out, long in) {
      weight(name + ".weight", out, in);
      weight(name + ".bias", out);
    }

    private void put(String name, double[] values, long... shape) {
      List<Long> sizes = java.util.Arrays.stream(shape).boxed().toList();
      tensors.put(name, new Stored(dtype.name(), sizes, Numbers.encode(dtype, values)));
    }

    private static long elements(long... shape) {
      long count = 1;
      for (long size : shape) {
        count *= size;
      }
      return count;
    }
  }
}
