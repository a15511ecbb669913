package dev.sinew;

import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.sn_tensor;
import dev.sinew.internal.sn_weights;
import java.lang.ref.Reference;

/**
 * The weights of a linear layer, [out, in], copied into an order that suits the device's kernels;
 * {@link Functional#linear} computes with them.
 *
 * <p>Packing runs on the device's threads and is done once; the tensors it copies from may be
 * closed afterwards. Packed weights never change, so many threads may compute with them at once.
 * Close them before their device. Closing them while a call uses them throws {@link
 * IllegalStateException} in the closing thread; using them afterwards throws it in the using one.
 */
public final class PackedWeights implements AutoCloseable {
  /** How weights are stored, which decides how a layer computes. */
  public enum Kind {
    /** int8; activations are quantized to int8 row by row. */
    W8A8,
    /** int8 or fp8, computed with in floating point. */
    W8,
    /** int4. */
    W4,
    /** A bitmap and the values that are not zero. */
    SPARSE,
    /** Indices into codebooks. */
    CLUSTERED,
    /** Dense floats. */
    FLOAT
  }

  private final Device device;
  private final Kind kind;
  private final long out;
  private final long in;
  private final long byteSize;
  private final Handle<sn_weights> handle;

  private PackedWeights(Device device, sn_weights pointer) {
    this.device = device;
    this.kind = Kind.values()[SinewNative.sn_weights_kind(pointer)];
    this.out = SinewNative.sn_weights_rows(pointer);
    this.in = SinewNative.sn_weights_cols(pointer);
    this.byteSize = SinewNative.sn_weights_bytes(pointer);
    this.handle =
        new Handle<>(this, "set of packed weights", pointer, SinewNative::sn_weights_close);
  }

  private interface Packing {
    int run(sn_tensor[] sources, sn_weights result);
  }

  // The first source is there; it decides about the device.
  private static PackedWeights pack(Packing packing, Tensor... sources) {
    if (sources[0] == null) {
      throw new IllegalArgumentException("the weights to pack are null");
    }
    sn_weights result = new sn_weights();
    NativeCall.callMany(pointers -> packing.run(pointers, result), sources);
    return new PackedWeights(sources[0].device(), result);
  }

  /**
   * int8 weights for activations that are quantized to int8 on the fly (W8A8).
   *
   * @param weight I8 [out, in, ...]; the dimensions after the first count as one, of at most 65536.
   *     For convolutions [out, channels, kernel height, kernel width]
   * @param scale F32, of one element or one a row of {@code weight}
   * @param zeroPoint I8 like the scale; null for symmetric weights
   */
  public static PackedWeights w8a8(Tensor weight, Tensor scale, Tensor zeroPoint) {
    return pack(
        (p, result) -> SinewNative.sn_pack_w8a8(p[0], p[1], p[2], result),
        weight,
        scale,
        zeroPoint);
  }

  /**
   * int8 or fp8 weights for activations that keep their precision.
   *
   * @param weight I8 or F8_E4M3 [out, in, ...], which has no zero points
   * @param scale F32, of one element, one a row, or one for every {@code group} columns of a row
   * @param zeroPoint I8 like the scale; null for symmetric weights
   * @param group columns that share a scale, of which the last of a row may be fewer; 0 if whole
   *     rows or all do
   */
  public static PackedWeights w8(Tensor weight, Tensor scale, Tensor zeroPoint, long group) {
    return pack(
        (p, result) -> SinewNative.sn_pack_w8(p[0], p[1], p[2], group, result),
        weight,
        scale,
        zeroPoint);
  }

  /**
   * int4 weights for activations that keep their precision.
   *
   * @param q U8 [out, ceil(in / 2)], two values a byte, as {@link Ops#quantize} stores them
   * @param in the number of columns
   * @param scale as of {@link #w8}
   * @param zeroPoint as of {@link #w8}
   * @param group as of {@link #w8}; even unless it is at least {@code in}
   */
  public static PackedWeights w4(Tensor q, long in, Tensor scale, Tensor zeroPoint, long group) {
    return pack(
        (p, result) -> SinewNative.sn_pack_w4(p[0], in, p[1], p[2], group, result),
        q,
        scale,
        zeroPoint);
  }

  /**
   * Pruned weights as a bitmap and the values that are not zero, see {@link Ops#bitmapEncode}. They
   * stay so in memory, and kernels expand them in registers.
   *
   * @param values I8 or F8_E4M3, which have scales, or F64 (rounded to F32), F32, F16 or BF16
   * @param bitmap U8 [out, ceil(in / 8)]
   * @param rowOffsets I64 [out + 1]
   * @param scale as of {@link #w8}; null for floats
   * @param group as of {@link #w8}; 0 for floats
   * @param in the number of columns
   * @throws IllegalArgumentException if the parts do not agree with each other
   */
  public static PackedWeights sparse(
      Tensor values, Tensor bitmap, Tensor rowOffsets, Tensor scale, long group, long in) {
    return pack(
        (p, result) -> SinewNative.sn_pack_sparse(p[0], p[1], p[2], p[3], group, in, result),
        values,
        bitmap,
        rowOffsets,
        scale);
  }

  /**
   * Weights that share values through codebooks, see {@link Ops#clusterAssign}.
   *
   * @param q U8 [out, ceil(in x b / 8)], indices of b bits, 2 to 8
   * @param codebook F32 [codebooks, 2^b]; each serves ceil(out / codebooks) rows
   * @param in the number of columns
   */
  public static PackedWeights clustered(Tensor q, Tensor codebook, long in) {
    return pack((p, result) -> SinewNative.sn_pack_clustered(p[0], p[1], in, result), q, codebook);
  }

  /**
   * Dense weights.
   *
   * @param weight F32, BF16 or F16 [out, in, ...]; the dimensions after the first count as one.
   *     BF16 stays as it is, F16 becomes F32.
   */
  public static PackedWeights dense(Tensor weight) {
    return pack((p, result) -> SinewNative.sn_pack_float(p[0], result), weight);
  }

  public Device device() {
    return device;
  }

  public Kind kind() {
    return kind;
  }

  /** The number of outputs of the layer, or output channels. */
  public long out() {
    return out;
  }

  /** The number of inputs of the layer. */
  public long in() {
    return in;
  }

  /** Bytes of native memory that the packed weights take. */
  public long byteSize() {
    return byteSize;
  }

  public boolean isClosed() {
    return handle.isClosed();
  }

  sn_weights acquire() {
    return handle.acquire();
  }

  void release() {
    handle.release();
  }

  /**
   * Frees the weights. Idempotent.
   *
   * @throws IllegalStateException if a call is using them
   */
  @Override
  public void close() {
    handle.close();
    Reference.reachabilityFence(this);
  }

  @Override
  public String toString() {
    return "PackedWeights("
        + kind
        + " ["
        + out
        + ", "
        + in
        + "]"
        + (isClosed() ? ", closed)" : ")");
  }
}
