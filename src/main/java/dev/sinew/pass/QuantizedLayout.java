package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Quantize.Granularity;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** How a quantized tensor stands in a checkpoint: names, types and shapes of its parts. */
public enum QuantizedLayout {
  /** Sinew's own, for tensors of any shape; {@link Quantize} describes it. Scales are F32. */
  SINEW {
    @Override
    void requireSupported(QuantScheme scheme, Granularity granularity) {}

    @Override
    DType scaleType(DType tensor) {
      return DType.F32;
    }

    @Override
    TensorInfo stored(Quantize pass, TensorInfo tensor) {
      if (pass.scheme().bits() == 8) {
        return new TensorInfo(tensor.name(), pass.scheme().storedType(), tensor.shape());
      }
      long packed = rowBytes(pass.scheme(), tensor.cols());
      return tensor.shape().size() < 2
          ? TensorInfo.of(tensor.name(), DType.U8, packed)
          : TensorInfo.of(tensor.name(), DType.U8, tensor.rows(), packed);
    }

    @Override
    long rowBytes(QuantScheme scheme, long cols) {
      return scheme.bits() == 8 ? cols : (cols + 1) / 2;
    }
  },

  /**
   * That of compressed-tensors (github.com/vllm-project/compressed-tensors), for the matrices
   * {@code *.weight} of Linear layers: int8 as {@code int-quantized} (I8), fp8 as {@code
   * float-quantized} (F8_E4M3), both per tensor or channel, and int4 as {@code pack-quantized} per
   * channel or group: I32 {@code *.weight_packed} [out, ceil(in / 8)], q + 8 in 4 bits, low bits
   * first, the last word filled with zero bits, and I64 {@code *.weight_shape} [2]. Symmetric only.
   * Scales have the weight's type if that is BF16 or F16, else F32; they are rounded up to it
   * before they quantize, so that values are nearest to what a loader multiplies and none is cut
   * off. A tensor whose rows the group size does not divide has a scale for each channel, because
   * loaders refuse groups that end early. {@link CompressedTensors} tells loaders all of this.
   */
  COMPRESSED_TENSORS {
    @Override
    void requireSupported(QuantScheme scheme, Granularity granularity) {
      if (scheme.isAsymmetric()) {
        throw new IllegalArgumentException(
            "the format compressed-tensors is written with symmetric integers only; leave out"
                + " --asymmetric, or use --format sinew");
      }
      if (scheme.bits() == 4
          ? granularity == Granularity.TENSOR
          : granularity == Granularity.GROUP) {
        throw new IllegalArgumentException(
            "the format compressed-tensors has no "
                + scheme.shortName()
                + " with a scale for each "
                + granularity.name().toLowerCase(java.util.Locale.ROOT)
                + "; use --granularity "
                + (scheme.bits() == 4 ? "channel or group=G" : "channel or tensor"));
      }
    }

    @Override
    DType scaleType(DType tensor) {
      return tensor == DType.BF16 || tensor == DType.F16 ? tensor : DType.F32;
    }

    @Override
    TensorInfo stored(Quantize pass, TensorInfo tensor) {
      String name = tensor.name();
      if (tensor.shape().size() != 2 || !name.endsWith(".weight")) {
        throw new IllegalArgumentException(
            "tensor "
                + Messages.quote(name)
                + " of shape "
                + Messages.brief(tensor.shape().toString())
                + " is not the matrix of a Linear layer ('*.weight' of two dimensions), which is all"
                + " that the format compressed-tensors quantizes; leave it out of --targets");
      }
      if (pass.scheme().bits() == 8) {
        return new TensorInfo(name, pass.scheme().storedType(), tensor.shape());
      }
      long words = rowBytes(pass.scheme(), tensor.cols()) / 4;
      return TensorInfo.of(name + "_packed", DType.I32, tensor.rows(), words);
    }

    @Override
    long rowBytes(QuantScheme scheme, long cols) {
      return scheme.bits() == 8 ? cols : (cols + 7) / 8 * 4;
    }

    @Override
    boolean mayLackGroups() {
      return true;
    }
  };

  /** The name on the command line. */
  public String shortName() {
    return this == SINEW ? "sinew" : "compressed-tensors";
  }

  /**
   * @throws IllegalArgumentException if this layout has no place for such values
   */
  abstract void requireSupported(QuantScheme scheme, Granularity granularity);

  /** The type of the scales of a tensor of this type. */
  abstract DType scaleType(DType tensor);

  /**
   * The stored values.
   *
   * @throws IllegalArgumentException if this layout cannot hold the tensor
   */
  abstract TensorInfo stored(Quantize pass, TensorInfo tensor);

  /** The bytes that the stored values of a row of {@code cols} take. */
  abstract long rowBytes(QuantScheme scheme, long cols);

  /** Whether {@link #hasGroups} says no to some tensors. */
  boolean mayLackGroups() {
    return false;
  }

  /** Whether groups of this size are possible in a tensor. */
  boolean hasGroups(int groupSize, TensorInfo tensor) {
    return !mayLackGroups() || tensor.cols() % groupSize == 0;
  }

  /**
   * The layout of this name, as the option {@code --format} takes it.
   *
   * @throws IllegalArgumentException one sentence for the user
   */
  public static QuantizedLayout named(String name) {
    for (QuantizedLayout layout : values()) {
      if (layout.shortName().equals(name)) {
        return layout;
      }
    }
    throw new IllegalArgumentException(
        "'" + name + "' is not a format; use sinew or compressed-tensors");
  }

  /** The tensors that take the place of one, the stored values first. */
  List<TensorInfo> outputs(Quantize pass, TensorInfo tensor) {
    String name = tensor.name();
    List<TensorInfo> outputs = new ArrayList<>();
    outputs.add(stored(pass, tensor));
    List<Long> scaleShape = new ArrayList<>();
    switch (pass.granularity()) {
      case TENSOR -> scaleShape.add(1L);
      case GROUP -> scaleShape.addAll(List.of(tensor.rows(), pass.groupsPerRow(tensor.cols())));
      case CHANNEL -> {
        scaleShape.add(tensor.rows());
        for (int i = 1; i < tensor.shape().size(); i++) {
          scaleShape.add(1L);
        }
      }
    }
    outputs.add(new TensorInfo(name + "_scale", pass.scaleTypeFor(tensor.dtype()), scaleShape));
    if (pass.scheme().isAsymmetric()) {
      outputs.add(new TensorInfo(name + "_zero_point", DType.I8, scaleShape));
    }
    if (pass.scheme().bits() == 4) {
      outputs.add(TensorInfo.of(name + "_shape", DType.I64, tensor.shape().size()));
    }
    return outputs;
  }

  /**
   * Raises F32 scales, in place, to the next number of their stored type. Up, because values at the
   * end of the range would move by more than half a step, or saturate, with a scale that was
   * rounded down.
   *
   * @throws IllegalArgumentException if one is beyond that type
   */
  void roundScales(Tensor scale, DType type) {
    if (type == DType.F32) {
      return;
    }
    if (scale.device().isGpu()) {
      try (Tensor host = scale.to(Device.cpu())) {
        roundScales(host, type);
        with(host, bytes -> scale.copyFrom(0, bytes));
      }
      return;
    }
    try (Tensor narrow = Tensor.allocate(scale.device(), type, scale.elements());
        Tensor nearest = Tensor.allocate(scale.device(), DType.F32, scale.elements())) {
      Ops.convert(scale, narrow);
      Ops.convert(narrow, nearest);
      with(
          scale,
          wanted -> with(nearest, found -> with(narrow, codes -> raise(wanted, found, codes))));
      Ops.convert(narrow, scale);
      with(scale, stored -> requireFinite(stored, type));
    }
  }

  // F16 ends at 65504; weights of F32 and BF16 go further.
  private static void requireFinite(ByteBuffer scales, DType type) {
    for (int i = 0; 4 * i < scales.limit(); i++) {
      if (!Float.isFinite(scales.getFloat(4 * i))) {
        throw new IllegalArgumentException(
            "weights are so large that a scale is beyond "
                + type
                + ", the type of the model; change the type in config.json to bfloat16 or float32");
      }
    }
  }

  // The next code of a positive 16-bit number, zero included, is the next number.
  private static void raise(ByteBuffer wanted, ByteBuffer found, ByteBuffer codes) {
    for (int i = 0; 2 * i < codes.limit(); i++) {
      if (found.getFloat(4 * i) < wanted.getFloat(4 * i)) {
        codes.putShort(2 * i, (short) (codes.getShort(2 * i) + 1));
      }
    }
  }

  private static void with(Tensor tensor, Tensor.BufferUse<RuntimeException> use) {
    tensor.withBuffer(0, Math.toIntExact(tensor.byteSize()), use);
  }
}
