package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.TensorInfo;
import java.util.List;

/**
 * Replaces weights by 8-bit or 4-bit integers or 8-bit floats with a scale for each tensor, output
 * channel or group.
 *
 * <p>In the layout {@link QuantizedLayout#SINEW} a tensor {@code T} becomes I8 or, for fp8, F8_E4M3
 * {@code T}, or for int4 U8 {@code T} [rows, ceil(cols / 2)] (two values a byte, low nibble first,
 * stored as q + 8) with I64 {@code T_shape}; beside it stand F32 {@code T_scale} ([1] per tensor,
 * [out, 1, ...] per channel, [out, groups] per group) and, if asymmetric, I8 {@code T_zero_point}
 * in the scale's shape.
 *
 * @param groupSize elements that share a scale with {@link Granularity#GROUP}, at most 1,048,576
 *     and even for int4; else 0
 * @param percentile for {@link RangeMethod#PERCENTILE}, above 0 and at most 100; else 0
 * @param layout how the result is stored
 * @param scaleType of the stored scales, which the layout has to allow; null for the one that the
 *     layout gives a tensor
 */
public record Quantize(
    QuantScheme scheme,
    Granularity granularity,
    int groupSize,
    RangeMethod range,
    float percentile,
    QuantizedLayout layout,
    DType scaleType)
    implements Pass {
  private static final int LARGEST_GROUP = 1 << 20;

  /** What shares one scale. */
  public enum Granularity {
    TENSOR,
    CHANNEL,
    GROUP
  }

  /**
   * @throws IllegalArgumentException if the group size, the percentile or the layout does not go
   *     with the rest
   */
  public Quantize {
    if (granularity == Granularity.GROUP) {
      if (groupSize < 1 || groupSize > LARGEST_GROUP) {
        throw new IllegalArgumentException(
            "the group size " + groupSize + " is not between 1 and " + LARGEST_GROUP);
      }
      if (scheme.bits() == 4 && groupSize % 2 != 0) {
        throw new IllegalArgumentException(
            "int4 stores two values a byte, so groups need an even size, not " + groupSize);
      }
    } else if (groupSize != 0) {
      throw new IllegalArgumentException("a group size goes with granularity group only");
    }
    if (range == RangeMethod.PERCENTILE && !(percentile > 0 && percentile <= 100)) {
      throw new IllegalArgumentException(
          "the percentile " + percentile + " is not above 0 and at most 100");
    }
    layout.requireSupported(scheme, granularity);
    if (scaleType != null && layout.scaleType(scaleType) != scaleType) {
      throw new IllegalArgumentException(
          "the format " + layout.shortName() + " has no scales of type " + scaleType);
    }
  }

  /** In the layout {@link QuantizedLayout#SINEW}. */
  public Quantize(
      QuantScheme scheme,
      Granularity granularity,
      int groupSize,
      RangeMethod range,
      float percentile) {
    this(scheme, granularity, groupSize, range, percentile, QuantizedLayout.SINEW, null);
  }

  /** The same values in another layout, with scales of the type that it gives them. */
  public Quantize in(QuantizedLayout other) {
    return new Quantize(scheme, granularity, groupSize, range, percentile, other, null);
  }

  /**
   * The same with scales of this type, the one that loaders give a model's weights.
   *
   * @throws IllegalArgumentException if the layout has no such scales
   */
  public Quantize withScales(DType type) {
    return new Quantize(scheme, granularity, groupSize, range, percentile, layout, type);
  }

  /**
   * What this does to a tensor: the same, or, where the layout has no groups of that size for it, a
   * scale for each channel.
   */
  Quantize forTensor(TensorInfo tensor) {
    return granularity == Granularity.GROUP && !layout.hasGroups(groupSize, tensor)
        ? new Quantize(scheme, Granularity.CHANNEL, 0, range, percentile, layout, scaleType)
        : this;
  }

  /** As above, for a tensor in memory. */
  Quantize forTensor(Tensor x) {
    return forTensor(new TensorInfo("x", x.dtype(), List.of(x.rows(), x.cols())));
  }

  /** The type of the stored scales of a tensor of this type. */
  DType scaleTypeFor(DType tensor) {
    return scaleType != null ? scaleType : layout.scaleType(tensor);
  }

  /** Symmetric int8 per output channel with the range of the extremes. */
  public static Quantize int8() {
    return of(8, false, "channel", "minmax");
  }

  /** E4M3 per output channel with the range of the extremes. */
  public static Quantize fp8() {
    return of(QuantScheme.FP8, "channel", "minmax");
  }

  /** Symmetric int4 in groups of this size with the range of the extremes. */
  public static Quantize int4(int groupSize) {
    return of(4, false, "group=" + groupSize, "minmax");
  }

  /**
   * Integers, from the command line's words; see {@link #of(QuantScheme, String, String)}.
   *
   * @param bits 8 or 4
   */
  public static Quantize of(int bits, boolean asymmetric, String granularity, String range) {
    return of(QuantScheme.of(bits, asymmetric), granularity, range);
  }

  /**
   * From the command line's words.
   *
   * @param granularity {@code tensor}, {@code channel} or {@code group=G}
   * @param range {@code minmax}, {@code percentile=P} or {@code mse}
   * @throws IllegalArgumentException one sentence that says what is wrong
   */
  public static Quantize of(QuantScheme scheme, String granularity, String range) {
    Granularity kind;
    int groupSize = 0;
    try {
      if (granularity.startsWith("group=")) {
        kind = Granularity.GROUP;
        groupSize = Integer.parseInt(granularity.substring("group=".length()));
      } else {
        kind =
            switch (granularity) {
              case "tensor" -> Granularity.TENSOR;
              case "channel" -> Granularity.CHANNEL;
              default -> throw new NumberFormatException();
            };
      }
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "'" + granularity + "' is not a granularity; use tensor, channel or group=G");
    }
    try {
      if (range.startsWith("percentile=")) {
        float percentile = Float.parseFloat(range.substring("percentile=".length()));
        return new Quantize(scheme, kind, groupSize, RangeMethod.PERCENTILE, percentile);
      }
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("'" + range + "' does not name a percentile in numbers");
    }
    return switch (range) {
      case "minmax" -> new Quantize(scheme, kind, groupSize, RangeMethod.MINMAX, 0);
      case "mse" -> new Quantize(scheme, kind, groupSize, RangeMethod.MSE, 0);
      default ->
          throw new IllegalArgumentException(
              "'" + range + "' is not a range; use minmax, percentile=P or mse");
    };
  }

  @Override
  public String recipe() {
    StringBuilder text = new StringBuilder("--quantize ").append(scheme.shortName());
    text.append(" --granularity ");
    text.append(
        switch (granularity) {
          case TENSOR -> "tensor";
          case CHANNEL -> "channel";
          case GROUP -> "group=" + groupSize;
        });
    if (scheme.isAsymmetric()) {
      text.append(" --asymmetric");
    }
    text.append(" --range ");
    text.append(
        switch (range) {
          case MINMAX -> "minmax";
          case PERCENTILE -> "percentile=" + percentile;
          case MSE -> "mse";
        });
    if (layout != QuantizedLayout.SINEW) {
      text.append(" --format ").append(layout.shortName());
    }
    return text.toString();
  }

  @Override
  public Extent extent() {
    return switch (granularity) {
      case TENSOR -> Extent.TENSOR;
      case CHANNEL -> Extent.ROW;
      case GROUP -> layout.mayLackGroups() ? Extent.ROW : Extent.ELEMENT;
    };
  }

  @Override
  public long alignment() {
    // Nibbles come in pairs, and squared errors are summed in blocks.
    long ofRows = range == RangeMethod.MSE ? SliceRanges.BLOCK : 2;
    if (granularity == Granularity.GROUP) {
      return layout.mayLackGroups() ? TileGrid.leastCommonMultiple(groupSize, ofRows) : groupSize;
    }
    return ofRows;
  }

  @Override
  public long scratchBytes(TensorInfo tensor) {
    // Integers, and for each slice lo, hi, scale and zero point.
    return tensor.elements() + 13 * slices(tensor);
  }

  /** The number of scales that a tensor gets. */
  long slices(TensorInfo tensor) {
    return switch (granularity) {
      case TENSOR -> 1;
      case CHANNEL -> tensor.rows();
      case GROUP -> tensor.rows() * groupsPerRow(tensor.cols());
    };
  }

  /** The number of scales that a tensor in memory gets. */
  long slices(Tensor x) {
    return slices(new TensorInfo("x", x.dtype(), List.of(x.rows(), x.cols())));
  }

  long groupsPerRow(long cols) {
    return (cols + groupSize - 1) / groupSize;
  }

  static void requireFloating(TensorInfo tensor, String what) {
    if (!tensor.dtype().isFloating()) {
      throw new IllegalArgumentException(
          "tensor "
              + Messages.quote(tensor.name())
              + " of type "
              + tensor.dtype()
              + " cannot be "
              + what);
    }
  }

  @Override
  public List<TensorInfo> outputs(TensorInfo tensor) {
    requireFloating(tensor, "quantized");
    return layout.outputs(forTensor(tensor), tensor);
  }

  @Override
  public PassRun start(List<TensorInfo> tensors) {
    return (tensor, grid) -> new QuantizeRun(forTensor(tensor), tensor, grid, false);
  }

  /**
   * Quantizes a tensor in memory into tensors of the caller's.
   *
   * @param q I8 with as many elements, F8_E4M3 for fp8, or U8 [rows, ceil(cols / 2)] for int4
   * @param scale F32 with one element a slice
   * @param zeroPoint I8 with as many, or null if symmetric
   * @throws dev.sinew.NotFiniteException if x holds NaN or infinity
   */
  public void apply(Tensor x, Tensor q, Tensor scale, Tensor zeroPoint) {
    scales(x, scale, zeroPoint);
    Ops.quantize(x, scale, zeroPoint, forTensor(x).groupSize, q);
  }

  /**
   * Chooses the scales, and zero points if asymmetric, of a tensor in memory.
   *
   * @throws IllegalArgumentException if there are not as many scales as slices
   */
  public void scales(Tensor x, Tensor scale, Tensor zeroPoint) {
    Quantize fitting = forTensor(x);
    long slices = fitting.slices(x);
    if (scale.elements() != slices) {
      throw new IllegalArgumentException(
          scale.elements() + " scales do not fit the " + slices + " slices of '" + recipe() + "'");
    }
    try (Tensor lo = Tensor.allocate(x.device(), DType.F32, slices);
        Tensor hi = Tensor.allocate(x.device(), DType.F32, slices)) {
      Ops.range(x, fitting.groupSize, scheme, range, percentile, lo, hi);
      scale(lo, hi, x.dtype(), scale, zeroPoint);
    }
  }

  /** The scales, and zero points if asymmetric, of ranges of a tensor of this type. */
  void scale(Tensor lo, Tensor hi, DType tensor, Tensor scale, Tensor zeroPoint) {
    Ops.scale(lo, hi, scheme, scale, zeroPoint);
    layout.roundScales(scale, scaleTypeFor(tensor));
  }
}
