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
   * @param weight I8 [out, in, ...]; the dimensions after the first count as one, of at most 65536
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
