package dev.sinew.nn;

import static dev.sinew.nn.Layers.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.Activation;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Functional;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.TestModels;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A Llama composed from layers and loaded from a model folder with shards, beside its formulas. */
class TransformerTest {
  private static final int WIDTH = 128;
  private static final int HEADS = 8;
  private static final int SHARED = 4;
  private static final int SIZE = 16;
  private static final int INNER = 256;
  private static final int WORDS = 160;
  private static final int[] TOKENS = {5, 159, 0, 77, 77, 12, 100};

  @TempDir Path folder;

  /** One block: attention and a gated layer, each with a norm before and a sum after it. */
  private static final class Block extends Module {
    final RmsNorm before = child("input_layernorm", new RmsNorm(WIDTH, 1e-5));
    final Attention attention;
    final RmsNorm between = child("post_attention_layernorm", new RmsNorm(WIDTH, 1e-5));
    final Linear gate = child("mlp.gate_proj", new Linear(WIDTH, INNER, false, Activation.SILU));
    final Linear up = child("mlp.up_proj", new Linear(WIDTH, INNER, false));
    final Linear down = child("mlp.down_proj", new Linear(INNER, WIDTH, false));

    Block(RotaryEmbedding rotary) {
      attention =
          child(
              "self_attn",
              new Attention(Attention.Config.causal(WIDTH, HEADS, SHARED, SIZE, rotary)));
    }

    void forward(Tensor x, KeyValueCache cache, Arena arena) {
      Tensor attended = attention.forward(before.forward(x, arena), cache, arena);
      Functional.add(x, attended, x);
      Tensor normal = between.forward(x, arena);
      Tensor gated = gate.forward(normal, arena);
      Functional.multiply(gated, up.forward(normal, arena), gated);
      Functional.add(x, down.forward(gated, arena), x);
    }
  }

  private static final class Llama extends Module {
    final RotaryEmbedding rotary = child("rotary", new RotaryEmbedding(SIZE, 64, 10000));
    final Embedding embedding = child("model.embed_tokens", new Embedding(WORDS, WIDTH));
    final List<Block> blocks = new ArrayList<>();
    final RmsNorm norm = child("model.norm", new RmsNorm(WIDTH, 1e-5));
    final Linear head = child("lm_head", new Linear(WIDTH, WORDS, false));

    Llama() {
      for (int i = 0; i < 2; i++) {
        blocks.add(child("model.layers." + i, new Block(rotary)));
      }
    }

    Tensor forward(Tensor tokens, List<KeyValueCache> caches, Arena arena) {
      Tensor x = embedding.forward(tokens, arena);
      for (int i = 0; i < blocks.size(); i++) {
        blocks.get(i).forward(x, caches == null ? null : caches.get(i), arena);
      }
      return head.forward(norm.forward(x, arena), arena);
    }
  }

  private static double[] values(Checkpoint view, String name) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate((int) view.tensors().get(name).bytes());
    view.read(name, 0, bytes);
    return Numbers.decode(view.tensors().get(name).dtype(), bytes.array());
  }

  // The same network by its formulas.
  private static double[] logits(Checkpoint checkpoint) throws IOException {
    Checkpoint view = Decoding.view(checkpoint);
    double[] table = values(view, "model.embed_tokens.weight");
    double[] x = new double[TOKENS.length * WIDTH];
    for (int i = 0; i < TOKENS.length; i++) {
      System.arraycopy(table, TOKENS[i] * WIDTH, x, i * WIDTH, WIDTH);
    }
    for (int i = 0; i < 2; i++) {
      String layer = "model.layers." + i + ".";
      double[] normal = Oracle.norm(x, values(view, layer + "input_layernorm.weight"), null, 1e-5);
      double[] q = project(view, layer + "self_attn.q_proj", normal, WIDTH, HEADS * SIZE);
      double[] k = project(view, layer + "self_attn.k_proj", normal, WIDTH, SHARED * SIZE);
      double[] y =
          new AttentionOracle(HEADS, SHARED, SIZE, true)
              .apply(
                  AttentionOracle.rotate(q, HEADS, SIZE, 10000),
                  AttentionOracle.rotate(k, SHARED, SIZE, 10000),
                  project(view, layer + "self_attn.v_proj", normal, WIDTH, SHARED * SIZE));
      add(x, project(view, layer + "self_attn.o_proj", y, HEADS * SIZE, WIDTH));
      normal = Oracle.norm(x, values(view, layer + "post_attention_layernorm.weight"), null, 1e-5);
      double[] gate = project(view, layer + "mlp.gate_proj", normal, WIDTH, INNER);
      double[] up = project(view, layer + "mlp.up_proj", normal, WIDTH, INNER);
      for (int j = 0; j < gate.length; j++) {
        gate[j] = gate[j] / (1 + Math.exp(-gate[j])) * up[j];
      }
      add(x, project(view, layer + "mlp.down_proj", gate, INNER, WIDTH));
    }
    double[] normal = Oracle.norm(x, values(view, "model.norm.weight"), null, 1e-5);
    return project(view, "lm_head", normal, WIDTH, WORDS);
  }

  private static double[] project(Checkpoint view, String name, double[] x, int in, int out)
      throws IOException {
    return Oracle.linear(x, values(view, name + ".weight"), null, in, out);
  }

  private static void add(double[] x, double[] y) {
    for (int i = 0; i < x.length; i++) {
      x[i] += y[i];
    }
  }

  @ParameterizedTest
  @CsvSource({"'', 0.0005", "int8:channel, 0.08", "fp8:channel, 0.0005", "cluster:bits=6, 0.0005"})
  void computesItsLogits(String recipe, double error) throws IOException {
    Path model = TestModels.llama(folder.resolve("llama"), 4);
    if (!recipe.isEmpty()) {
      try (Checkpoint checkpoint = CheckpointFormat.open(model)) {
        model = Models.optimized(checkpoint, folder, recipe);
      }
    }
    try (Checkpoint checkpoint = CheckpointFormat.open(model);
        Llama llama = new Llama();
        Arena arena = new Arena()) {
      llama.load(checkpoint);
      double[] expected = logits(checkpoint);
      double largest = 0;
      for (double logit : expected) {
        largest = Math.max(largest, Math.abs(logit));
      }
      double[] all = run(llama, 0, TOKENS.length, null, arena);
      assertClose(expected, all, error * largest, recipe);
      // The same token by token, with the keys and values of those before.
      List<KeyValueCache> caches = new ArrayList<>();
      for (Block block : llama.blocks) {
        caches.add(block.attention.cache(Device.cpu(), 1, TOKENS.length));
      }
      for (int i = 0; i < TOKENS.length; i++) {
        double[] one = run(llama, i, i + 1, caches, arena);
        double[] same = java.util.Arrays.copyOfRange(all, i * WORDS, (i + 1) * WORDS);
        assertClose(same, one, Math.max(1e-5, error / 4) * largest, recipe + ", token " + i);
      }
      caches.forEach(KeyValueCache::close);
      assertEquals(TOKENS.length, caches.get(0).length());
      assertTrue(llama.bytes() > 0);
    }
  }

  private static double[] run(
      Llama llama, int from, int to, List<KeyValueCache> caches, Arena arena) {
    double[] ids = new double[to - from];
    for (int i = from; i < to; i++) {
      ids[i - from] = TOKENS[i];
    }
    try (Tensor tokens = Numbers.tensor(Device.cpu(), DType.I64, ids, 1, to - from)) {
      return Numbers.values(llama.forward(tokens, caches, arena));
    } finally {
      arena.reset();
    }
  }
}
