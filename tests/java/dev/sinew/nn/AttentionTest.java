package dev.sinew.nn;

import static dev.sinew.nn.Layers.assertClose;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AttentionTest {
  private static final int WIDTH = 24;

  private final Random random = new Random(11);
  private final MemoryCheckpoint model = new MemoryCheckpoint();

  private double[] linear(String name, int out, int in, boolean bias) {
    double[] weight = Layers.random(random, out * in);
    for (int i = 0; i < weight.length; i++) {
      weight[i] = (float) (weight[i] / Math.sqrt(in));
    }
    model.add(name + ".weight", DType.F32, weight, out, in);
    if (bias) {
      model.add(name + ".bias", DType.F32, Layers.random(random, out), out);
    }
    return weight;
  }

  private double[] values(String name) {
    return model.tensors().containsKey(name) ? Numbers.decode(DType.F32, model.bytes(name)) : null;
  }

  private double[] project(double[] x, String name, int in, int out) {
    return Oracle.linear(x, values(name + ".weight"), values(name + ".bias"), in, out);
  }

  @ParameterizedTest
  @CsvSource({"2, 2, 12, false", "4, 2, 6, true", "6, 1, 4, true", "1, 1, 3, false"})
  void attendsByTheFormula(int heads, int shared, int size, boolean causal) throws IOException {
    linear("query", heads * size, WIDTH, true);
    linear("key", shared * size, WIDTH, true);
    linear("value", shared * size, WIDTH, true);
    linear("out", WIDTH, heads * size, true);
    Attention.Config config =
        new Attention.Config(
                WIDTH, heads, shared, size, causal, true, true, null, Attention.Config.NAMES)
            .named("query", "key", "value", "out");
    AttentionOracle formula = new AttentionOracle(heads, shared, size, causal);
    try (Attention layer = new Attention(config)) {
      layer.load(model);
      for (int tokens : new int[] {1, 2, 17}) {
        double[] x = Layers.random(random, 2 * tokens * WIDTH);
        double[] found = Layers.run(layer, x, 2, tokens, WIDTH);
        for (int batch = 0; batch < 2; batch++) {
          double[] one = part(x, batch * tokens * WIDTH, tokens * WIDTH);
          double[] y =
              formula.apply(
                  project(one, "query", WIDTH, heads * size),
                  project(one, "key", WIDTH, shared * size),
                  project(one, "value", WIDTH, shared * size));
          double[] expected = project(y, "out", heads * size, WIDTH);
          assertClose(
              expected,
              part(found, batch * tokens * WIDTH, tokens * WIDTH),
              1e-4,
              tokens + " tokens, conversation " + batch);
        }
      }
    }
  }

  private static double[] part(double[] values, int from, int count) {
    return java.util.Arrays.copyOfRange(values, from, from + count);
  }

  @Test
  void aCacheGivesTheSameTokenByToken() throws IOException {
    int heads = 4;
    int shared = 2;
    int size = 6;
    linear("q_proj", heads * size, WIDTH, false);
    linear("k_proj", shared * size, WIDTH, false);
    linear("v_proj", shared * size, WIDTH, false);
    linear("o_proj", WIDTH, heads * size, false);
    int tokens = 13;
    double[] x = Layers.random(random, tokens * WIDTH);
    double[] y =
        new AttentionOracle(heads, shared, size, true)
            .apply(
                AttentionOracle.rotate(
                    project(x, "q_proj", WIDTH, heads * size), heads, size, 10000),
                AttentionOracle.rotate(
                    project(x, "k_proj", WIDTH, shared * size), shared, size, 10000),
                project(x, "v_proj", WIDTH, shared * size));
    double[] expected = project(y, "o_proj", heads * size, WIDTH);
    try (RotaryEmbedding rotary = new RotaryEmbedding(size, 64, 10000);
        Attention layer =
            new Attention(Attention.Config.causal(WIDTH, heads, shared, size, rotary));
        Arena arena = new Arena()) {
      layer.load(model);
      assertClose(expected, Layers.run(layer, x, 1, tokens, WIDTH), 1e-4, "at once");
      try (KeyValueCache cache = layer.cache(arena.device(), 1, tokens)) {
        // Five tokens, then one at a time; then the last ones again.
        for (int round = 0; round < 2; round++) {
          for (int from = (int) cache.length(); from < tokens; ) {
            int count = from == 0 ? 5 : 1;
            double[] some = part(x, from * WIDTH, count * WIDTH);
            try (Tensor input = Layers.tensor(some, 1, count, WIDTH)) {
              double[] found = Numbers.values(layer.forward(input, cache, arena));
              assertClose(part(expected, from * WIDTH, count * WIDTH), found, 1e-4, "at " + from);
            }
            arena.reset();
            from += count;
            assertEquals(from, cache.length());
          }
          cache.truncate(7);
        }
        assertThrows(IllegalArgumentException.class, () -> cache.truncate(8));
        try (Tensor many = Layers.tensor(new double[7 * WIDTH], 1, 7, WIDTH);
            Tensor two = Layers.tensor(new double[2 * WIDTH], 2, 1, WIDTH)) {
          assertThrows(IllegalArgumentException.class, () -> layer.forward(many, cache, arena));
          assertThrows(IllegalArgumentException.class, () -> layer.forward(two, cache, arena));
        }
        assertEquals(7, cache.length());
      }
    }
  }

  /** As in F32 but for the rounding of what goes from one step to the next. */
  @Test
  void bf16WithACacheOfItsOwn() throws IOException {
    linear("q_proj", 24, WIDTH, false);
    linear("k_proj", 12, WIDTH, false);
    linear("v_proj", 12, WIDTH, false);
    linear("o_proj", WIDTH, 24, false);
    int tokens = 9;
    double[] x = Layers.bf16(Layers.random(random, tokens * WIDTH));
    try (Attention layer = new Attention(Attention.Config.causal(WIDTH, 4, 2, 6, null));
        Arena arena = new Arena()) {
      layer.load(model);
      double[] expected = Layers.run(layer, x, 1, tokens, WIDTH);
      double largest = java.util.Arrays.stream(expected).map(Math::abs).max().orElse(0);
      double bound = 0.03 * largest;
      double[] all = Layers.run(layer, DType.BF16, x, 1, tokens, WIDTH);
      assertClose(expected, all, bound, "at once");
      try (KeyValueCache cache = layer.cache(arena.device(), DType.BF16, 1, tokens)) {
        for (int token = 0; token < tokens; token++) {
          double[] one = part(x, token * WIDTH, WIDTH);
          try (Tensor input = Numbers.tensor(arena.device(), DType.BF16, one, 1, 1, WIDTH)) {
            double[] found = Numbers.values(layer.forward(input, cache, arena));
            assertClose(part(expected, token * WIDTH, WIDTH), found, bound, "at " + token);
          }
          arena.reset();
        }
        cache.truncate(0);
        try (Tensor input = Layers.tensor(new double[WIDTH], 1, 1, WIDTH)) {
          IllegalArgumentException e =
              assertThrows(
                  IllegalArgumentException.class, () -> layer.forward(input, cache, arena));
          assertEquals("a cache of BF16 does not take keys of F32", e.getMessage());
        }
      }
      assertThrows(
          IllegalArgumentException.class, () -> layer.cache(arena.device(), DType.I8, 1, tokens));
    }
  }

  @Test
  void sizesThatDoNotGoTogetherAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> Attention.Config.causal(8, 4, 3, 2, null));
    assertThrows(IllegalArgumentException.class, () -> new RotaryEmbedding(5, 8, 10000));
    try (Attention layer = new Attention(Attention.Config.of(8, 2));
        Arena arena = new Arena();
        Tensor x = Layers.tensor(new double[14], 1, 2, 7)) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> layer.forward(x, arena));
      assertEquals(
          "Attention(8, 2 heads) takes F32 or BF16 [batch, tokens, 8], not F32 [1, 2, 7]",
          e.getMessage());
      assertArrayEquals(new long[] {1, 2, 7}, x.shape());
    }
  }
}
