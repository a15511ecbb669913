package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Functional;
import dev.sinew.Tensor;
import java.util.Arrays;
import java.util.List;

/**
 * Multi-head attention (Vaswani et al. 2017) with its four projections: {@code softmax(q k^T scale)
 * v} for each head, where {@code scale = 1 / sqrt(size of a head)}. With fewer key and value heads
 * than query heads, groups of query heads share one (Ainslie et al., "GQA", 2023). State dict:
 * {@code q_proj}, {@code k_proj}, {@code v_proj} and {@code o_proj}, or the names that are given,
 * each a {@link Linear}.
 */
public final class Attention extends Layer {
  private final Config config;
  private final Linear query;
  private final Linear key;
  private final Linear value;
  private final Linear output;

  /**
   * What an attention layer is like.
   *
   * @param width of its inputs and outputs
   * @param heads of queries
   * @param keyValueHeads of keys and values, a divisor of heads
   * @param size of a head
   * @param causal whether a token sees only itself and those before it
   * @param inputBias whether queries, keys and values have biases
   * @param outputBias whether the output has one
   * @param rotary applied to queries and keys, or null; not closed by the layer
   * @param names of the projections of queries, keys, values and outputs
   */
  public record Config(
      int width,
      int heads,
      int keyValueHeads,
      int size,
      boolean causal,
      boolean inputBias,
      boolean outputBias,
      RotaryEmbedding rotary,
      List<String> names) {
    /** Llama's names of the four projections. */
    public static final List<String> NAMES = List.of("q_proj", "k_proj", "v_proj", "o_proj");

    public Config {
      if (heads < 1 || keyValueHeads < 1 || heads % keyValueHeads != 0) {
        throw new IllegalArgumentException(
            keyValueHeads + " heads of keys and values cannot serve " + heads + " of queries");
      }
      names = List.copyOf(names);
      if (names.size() != 4) {
        throw new IllegalArgumentException(
            "names of four projections are needed: queries, keys, values, output; not " + names);
      }
    }

    /** As in BERT: every token sees all, biases everywhere; the names are those of Llama. */
    public static Config of(int width, int heads) {
      return new Config(width, heads, heads, width / heads, false, true, true, null, NAMES);
    }

    /** As in Llama: causal, no biases. */
    public static Config causal(
        int width, int heads, int keyValueHeads, int size, RotaryEmbedding rotary) {
      return new Config(width, heads, keyValueHeads, size, true, false, false, rotary, NAMES);
    }

    /** With other names for the projections of queries, keys, values and output. */
    public Config named(String query, String key, String value, String output) {
      return new Config(
          width,
          heads,
          keyValueHeads,
          size,
          causal,
          inputBias,
          outputBias,
          rotary,
          List.of(query, key, value, output));
    }
  }

  public Attention(Config config) {
    this.config = config;
    int all = config.heads * config.size;
    int shared = config.keyValueHeads * config.size;
    query = child(config.names.get(0), new Linear(config.width, all, config.inputBias));
    key = child(config.names.get(1), new Linear(config.width, shared, config.inputBias));
    value = child(config.names.get(2), new Linear(config.width, shared, config.inputBias));
    output = child(config.names.get(3), new Linear(all, config.width, config.outputBias));
  }

  /** A cache for so many conversations of at most {@code capacity} tokens; the caller closes it. */
  public KeyValueCache cache(Device device, int batch, int capacity) {
    return cache(device, DType.F32, batch, capacity);
  }

  /**
   * A cache for inputs of a type.
   *
   * @param dtype F32 or BF16, which takes half of the memory
   */
  public KeyValueCache cache(Device device, DType dtype, int batch, int capacity) {
    if (!WeightedLayer.isActivationType(dtype)) {
      throw new IllegalArgumentException("a cache is F32 or BF16, not " + dtype);
    }
    return new KeyValueCache(device, dtype, batch, config.keyValueHeads, capacity, config.size);
  }

  /** Attends to the tokens of x alone. */
  @Override
  public Tensor forward(Tensor x, Arena arena) {
    return forward(x, null, arena);
  }

  /**
   * Attends to the tokens in the cache and those of x, which are added to it.
   *
   * @param x F32 or BF16 [batch, tokens, width]
   * @param cache of x's type, or null
   * @return of x's type and shape
   * @throws IllegalArgumentException if x has another shape, or does not fit the cache
   */
  public Tensor forward(Tensor x, KeyValueCache cache, Arena arena) {
    if (x.rank() != 3 || x.size(2) != config.width || !WeightedLayer.isActivationType(x.dtype())) {
      throw new IllegalArgumentException(
          this
              + " takes F32 or BF16 [batch, tokens, "
              + config.width
              + "], not "
              + x.dtype()
              + " "
              + Arrays.toString(x.shape()));
    }
    long batch = x.size(0);
    long tokens = x.size(1);
    long before = cache == null ? 0 : cache.length();
    if (cache != null && cache.keys().dtype() != x.dtype()) {
      throw new IllegalArgumentException(
          "a cache of " + cache.keys().dtype() + " does not take keys of " + x.dtype());
    }
    if (cache != null && (batch != cache.keys().size(0) || before + tokens > cache.capacity())) {
      throw new IllegalArgumentException(
          "a cache of "
              + cache.keys().size(0)
              + " conversations with "
              + before
              + " of "
              + cache.capacity()
              + " tokens has no room for "
              + Arrays.toString(x.shape()));
    }
    Tensor q = arena.allocate(x.dtype(), batch, config.heads, tokens, config.size);
    split(query, x, config.heads, before, true, q, 0, arena);
    Tensor k = cache == null ? heads(x.dtype(), batch, tokens, arena) : cache.keys();
    Tensor v = cache == null ? heads(x.dtype(), batch, tokens, arena) : cache.values();
    split(key, x, config.keyValueHeads, before, true, k, before, arena);
    split(value, x, config.keyValueHeads, before, false, v, before, arena);
    if (cache != null) {
      cache.advance(tokens);
    }
    Tensor y = arena.like(q);
    double scale = 1 / Math.sqrt(config.size);
    Functional.attention(q, k, v, before + tokens, config.causal, scale, y);
    arena.release(q);
    arena.release(k);
    arena.release(v);
    Tensor joined = arena.allocate(x.dtype(), batch, tokens, config.heads, config.size);
    Functional.transposeHeads(y, 0, joined);
    arena.release(y);
    Tensor flat = arena.reshape(joined, batch, tokens, (long) config.heads * config.size);
    Tensor result = output.forward(flat, arena);
    arena.release(joined);
    arena.release(flat);
    return result;
  }

  private Tensor heads(DType dtype, long batch, long tokens, Arena arena) {
    return arena.allocate(dtype, batch, config.keyValueHeads, tokens, config.size);
  }

  // Projects x and puts it, head by head, to rows of y from `first` on.
  private void split(
      Linear projection,
      Tensor x,
      int heads,
      long position,
      boolean rotated,
      Tensor y,
      long first,
      Arena arena) {
    Tensor flat = projection.forward(x, arena);
    Tensor split = arena.reshape(flat, x.size(0), x.size(1), heads, config.size);
    if (rotated && config.rotary != null) {
      config.rotary.rotate(split, position);
    }
    Functional.transposeHeads(split, first, y);
    arena.release(flat);
    arena.release(split);
  }

  @Override
  public String toString() {
    return "Attention(" + config.width + ", " + config.heads + " heads)";
  }
}
