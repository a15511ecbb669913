package dev.sinew;

import dev.sinew.internal.Blas;
import dev.sinew.internal.GpuLibrary;
import dev.sinew.internal.SinewNative;

/**
 * The operations that layers of neural networks are made of. Each runs on the device of its first
 * tensor and returns when the result is complete.
 *
 * <p>Outputs are the caller's and may not overlap inputs unless "in place" is said. Results do not
 * depend on the number of threads; docs/numerics.md has the rules. NaN and infinity are numbers
 * like others here, never an error. Wrong shapes or dtypes are {@link IllegalArgumentException},
 * closed tensors, weights and devices {@link IllegalStateException}. Safe for use by many threads.
 */
public final class Functional {
  private Functional() {}

  /**
   * A linear layer: {@code y = activation(x W^T + bias)}.
   *
   * <p>With weights of kind {@link PackedWeights.Kind#W8A8} each row of x is quantized to symmetric
   * int8 first, by the rules of {@link Ops#scale} and {@link Ops#quantize}; the sums of int8
   * products are exact; a row with NaN or infinity gives a row of NaN.
   *
   * <p>The other kinds keep the precision of x. Integers (int8, int4, and int8 with a bitmap) are
   * multiplied by 16-bit fixed-point numbers: of every block of at most 128 columns those are whole
   * multiples of its largest magnitude divided by 32512, so the error of an activation is at most
   * 1/65024 of that. A row with NaN or infinity gives a row of NaN here too. fp8, floats with a
   * bitmap, and codebooks are computed with in F32.
   *
   * @param x F32 or BF16 [..., in]
   * @param bias F32 [out], or null
   * @param y F32 or BF16 [..., out], with as many rows as x
   */
  public static void linear(
      Tensor x, PackedWeights weights, Tensor bias, Activation activation, Tensor y) {
    int code = activation.ordinal();
    if (weights != null && weights.kind() == PackedWeights.Kind.FLOAT) {
      prepareProduct(y, weights.in());
    }
    NativeCall.callWithWeights(
        x, weights, bias, y, (px, pw, pb, py) -> SinewNative.sn_linear(px, pw, pb, code, py));
  }

  /**
   * {@code y = activation(x)}. In place allowed.
   *
   * @param y of x's dtype and shape
   */
  public static void activation(Tensor x, Activation activation, Tensor y) {
    NativeCall.call(
        x, y, null, null, (px, py, c, d) -> SinewNative.sn_activate(px, activation.ordinal(), py));
  }

  /**
   * {@code y = a + b}, of one dtype, broadcast as NumPy and PyTorch do: dimensions are aligned at
   * the last one, and those of 1 or missing are repeated.
   *
   * @param y of the common shape; in place allowed for an operand of that shape
   */
  public static void add(Tensor a, Tensor b, Tensor y) {
    NativeCall.call(a, b, y, null, (pa, pb, py, d) -> SinewNative.sn_add(pa, pb, py));
  }

  /** {@code y = a b}, element by element, with the shapes of {@link #add}. */
  public static void multiply(Tensor a, Tensor b, Tensor y) {
    NativeCall.call(a, b, y, null, (pa, pb, py, d) -> SinewNative.sn_multiply(pa, pb, py));
  }

  /**
   * {@code y = exp(x - max) / sum exp(x - max)} along the last dimension. In place allowed.
   *
   * @param y of x's dtype and shape
   */
  public static void softmax(Tensor x, Tensor y) {
    NativeCall.call(x, y, null, null, (px, py, c, d) -> SinewNative.sn_softmax(px, py));
  }

  /**
   * {@code y = (x - mean) / sqrt(variance + eps) * weight + bias} along the last dimension. In
   * place allowed.
   *
   * @param weight F32, as long as the last dimension; null for ones
   * @param bias as the weight; null for zeros
   * @param y of x's dtype and shape
   */
  public static void layerNorm(Tensor x, Tensor weight, Tensor bias, double eps, Tensor y) {
    NativeCall.call(
        x, weight, bias, y, (px, pw, pb, py) -> SinewNative.sn_layer_norm(px, pw, pb, eps, py));
  }

  /**
   * {@code y = x / sqrt(mean of x^2 + eps) * weight} along the last dimension. In place allowed.
   *
   * @param weight F32, as long as the last dimension; null for ones
   * @param y of x's dtype and shape
   */
  public static void rmsNorm(Tensor x, Tensor weight, double eps, Tensor y) {
    NativeCall.call(
        x, weight, y, null, (px, pw, py, d) -> SinewNative.sn_rms_norm(px, pw, eps, py));
  }

  /**
   * Quantizes each row along the last dimension by the rules of symmetric int8, with a scale of its
   * own: {@code scale = max |x| / 127}, {@code q = clamp(round_half_even(x / scale), -127, 127)}.
   * That is token-wise quantization (Yao et al., "ZeroQuant", 2022), with one row for each token,
   * and what {@link #linear} does with inputs of {@link PackedWeights.Kind#W8A8}. A row of zeros
   * has scale 1; one with NaN or infinity has scale NaN and zeros.
   *
   * @param x F32, F16 or BF16 [..., n]
   * @param q I8 with as many elements
   * @param scale F32 with an element for each row
   */
  public static void quantizePerToken(Tensor x, Tensor q, Tensor scale) {
    NativeCall.call(
        x, q, scale, null, (px, pq, ps, d) -> SinewNative.sn_quantize_per_token(px, pq, ps));
  }

  /**
   * {@link #rmsNorm} in F32, quantized at once as {@link #quantizePerToken} does.
   *
   * @param q I8 of x's shape
   * @param scale F32 with an element for each row
   */
  public static void rmsNormQuantize(Tensor x, Tensor weight, double eps, Tensor q, Tensor scale) {
    NativeCall.call(
        x,
        weight,
        q,
        scale,
        (px, pw, pq, ps) -> SinewNative.sn_rms_norm_quantize(px, pw, eps, pq, ps));
  }

  /**
   * Batch norm with fixed statistics: {@code y = (x - mean) / sqrt(variance + eps) * weight + bias}
   * for each channel, computed as {@code y = x a + b}. In place allowed.
   *
   * @param x [batch, channels, ...]
   * @param mean F32 with an element for each channel, as variance, weight and bias
   * @param weight null for ones
   * @param bias null for zeros
   * @param y of x's dtype and shape
   */
  public static void batchNorm(
      Tensor x, Tensor mean, Tensor variance, Tensor weight, Tensor bias, double eps, Tensor y) {
    NativeCall.callMany(
        t -> SinewNative.sn_batch_norm(t[0], t[1], t[2], t[3], t[4], eps, t[5]),
        x,
        mean,
        variance,
        weight,
        bias,
        y);
  }

  /**
   * {@code y = table[ids]}.
   *
   * @param ids I64 or I32 of any shape
   * @param table [rows, width]
   * @param y of the table's dtype or F32, with the shape of ids and then the width
   * @throws IllegalArgumentException if an id is not a row of the table; y is then unspecified
   */
  public static void embedding(Tensor ids, Tensor table, Tensor y) {
    NativeCall.call(ids, table, y, null, (pi, pt, py, d) -> SinewNative.sn_embedding(pi, pt, py));
  }

  /**
   * Rotary position embedding (Su et al., "RoFormer", 2021) with the pairs of GPT-NeoX and Llama:
   * elements i and i + r / 2 of the first r are rotated by the angles of the token's position. In
   * place allowed.
   *
   * @param x [..., tokens, heads, width]
   * @param cosine F32 [positions, r / 2], r at most the width, as {@code sine}; the other elements
   *     are copied
   * @param position that of the first token
   * @param y of x's dtype and shape
   */
  public static void rotaryEmbedding(
      Tensor x, Tensor cosine, Tensor sine, long position, Tensor y) {
    rotaryEmbedding(x, cosine, sine, position, false, y);
  }

  /**
   * As {@link #rotaryEmbedding(Tensor, Tensor, Tensor, long, Tensor)}.
   *
   * @param interleaved whether pairs are neighbours, 2 i and 2 i + 1, as in GPT-J
   */
  public static void rotaryEmbedding(
      Tensor x, Tensor cosine, Tensor sine, long position, boolean interleaved, Tensor y) {
    NativeCall.call(
        x,
        cosine,
        sine,
        y,
        (px, pc, ps, py) ->
            SinewNative.sn_rotary_embedding(px, pc, ps, position, interleaved ? 1 : 0, py));
  }

  /**
   * Swaps the middle dimensions: {@code y[i, k, first + j] = x[i, j, k]}. Splits a projection
   * [batch, tokens, heads, width] into heads, or appends it to a cache of keys or values, and
   * merges heads again.
   *
   * @param x [a, b, c, d] of any dtype
   * @param first 0, or where a cache's next rows go
   * @param y [a, c, s, d] of x's dtype, s at least first + b; its other rows stay as they are
   */
  public static void transposeHeads(Tensor x, long first, Tensor y) {
    NativeCall.call(
        x, y, null, null, (px, py, c, d) -> SinewNative.sn_transpose_heads(px, first, py));
  }

  /**
   * The largest element of each window. NaN counts as the largest.
   *
   * @param x F32, F16 or BF16 [batch, channels, height, width]
   * @param y [batch, channels, {@link Pool2dOptions#outputHeight}, {@link
   *     Pool2dOptions#outputWidth}] of x's type
   */
  public static void maxPool2d(Tensor x, Pool2dOptions options, Tensor y) {
    long[] window = options.window();
    NativeCall.call(x, y, null, null, (px, py, c, d) -> SinewNative.sn_max_pool2d(px, window, py));
  }

  /** The mean of each window; shapes as in {@link #maxPool2d}. */
  public static void avgPool2d(Tensor x, Pool2dOptions options, Tensor y) {
    long[] window = options.window();
    int include = options.includePadding() ? 1 : 0;
    NativeCall.call(
        x, y, null, null, (px, py, c, d) -> SinewNative.sn_avg_pool2d(px, window, include, py));
  }

  /**
   * A convolution: {@code y = activation(x * W + bias)}. Weights are packed from [out, channels /
   * groups, kernelHeight, kernelWidth]; those of any kind will do. With weights of kind {@link
   * PackedWeights.Kind#W8A8} and one group each image of x is quantized as a whole; with several
   * groups weights of all kinds are multiplied as floats. On a GPU large convolutions of floats may
   * be those of cuDNN, whose last bits may differ, if that is there (see {@link Device#cudnn()}).
   *
   * @param x F32 or BF16 [batch, channels, height, width]
   * @param bias F32 [out], or null
   * @param y F32 or BF16 [batch, out, {@link Conv2dOptions#outputHeight}, {@link
   *     Conv2dOptions#outputWidth}]
   */
  public static void conv2d(
      Tensor x,
      PackedWeights weights,
      long kernelHeight,
      long kernelWidth,
      Tensor bias,
      Conv2dOptions options,
      Activation activation,
      Tensor y) {
    long[] window = options.window(kernelHeight, kernelWidth);
    int code = activation.ordinal();
    if (y != null
        && weights != null
        && weights.kind() == PackedWeights.Kind.FLOAT
        && y.device().isGpu()) {
      GpuLibrary.CUDNN.prepare((double) y.elements() * weights.in());
    }
    NativeCall.callWithWeights(
        x,
        weights,
        bias,
        y,
        (px, pw, pb, py) -> SinewNative.sn_conv2d(px, pw, window, options.groups(), pb, code, py));
  }

  private static void prepareProduct(Tensor y, long inner) {
    if (y != null && y.device().isGpu()) {
      GpuLibrary.CUBLASLT.prepare((double) y.elements() * inner);
    }
  }

  /**
   * {@code y = a b}, or {@code a b^T}: products of the matrices in the last two dimensions, all F32
   * or BF16. The sums are F32. Where all are F32 and OpenBLAS is there, it computes them (see
   * {@link Device#blas()}); results then depend on it, but not on the number of threads. On a GPU
   * large products are those of cuBLASLt, if that is there (see {@link Device#cublasLt()}).
   *
   * @param a [..., m, k]
   * @param b [..., k, n], or transposed [..., n, k], with a's leading dimensions or none
   * @param y [..., m, n]
   */
  public static void matmul(Tensor a, Tensor b, boolean transposeB, Tensor y) {
    if (a != null && a.device().isGpu()) {
      long[] shape = a.shape();
      prepareProduct(y, shape.length == 0 ? 0 : shape[shape.length - 1]);
    } else {
      Blas.load();
    }
    NativeCall.call(
        a, b, y, null, (pa, pb, py, d) -> SinewNative.sn_matmul(pa, pb, transposeB ? 1 : 0, py));
  }

  /** {@link #attention(Tensor, Tensor, Tensor, long, boolean, double, Tensor)} over all keys. */
  public static void attention(
      Tensor q, Tensor k, Tensor v, boolean causal, double scale, Tensor y) {
    long[] shape = k.shape();
    attention(q, k, v, shape.length == 4 ? shape[2] : 0, causal, scale, y);
  }

  /**
   * Scaled dot-product attention, {@code y = softmax(scale q k^T) v} for each head. Neighbouring
   * heads share a head of keys and values where there are fewer of those. Memory does not grow with
   * the square of the length.
   *
   * @param q F32 or BF16 [batch, heads, tokens, width]; k, v and y have its type
   * @param k [batch, key heads, capacity, width], a cache
   * @param v [batch, key heads, capacity, value width]
   * @param length how many keys and values there are, at most the capacity
   * @param causal whether query i sees only the first {@code length - tokens + i + 1} keys; there
   *     are then at least as many keys as tokens
   * @param y [batch, heads, tokens, value width]; 0 without keys
   */
  public static void attention(
      Tensor q, Tensor k, Tensor v, long length, boolean causal, double scale, Tensor y) {
    NativeCall.call(
        q,
        k,
        v,
        y,
        (pq, pk, pv, py) ->
            SinewNative.sn_attention(pq, pk, pv, length, causal ? 1 : 0, scale, py));
  }
}
