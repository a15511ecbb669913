package dev.sinew.model;

import static dev.sinew.model.PackedShape.damaged;

import dev.sinew.DType;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A tensor that a checkpoint stores as integers with scales, in the layout that {@code
 * dev.sinew.pass.Quantize} writes.
 *
 * @param stored the integers: I8, or U8 with two int4 values a byte
 * @param logical name and shape of the real tensor, as F32
 * @param scale F32, one element a slice
 * @param zeroPoint I8 in the scale's shape, or null
 * @param group elements of a row that share a scale; 0 for whole rows or the whole tensor
 */
public record QuantizedTensor(
    TensorInfo stored, TensorInfo logical, TensorInfo scale, TensorInfo zeroPoint, long group) {
  /** Metadata key under which the group size of a checkpoint is recorded. */
  public static final String GROUP_KEY = "sinew.group_size";

  /** Whether two values share a byte. */
  public boolean isInt4() {
    return stored.dtype() == DType.U8;
  }

  /**
   * Finds the quantized tensors of a checkpoint, by their names.
   *
   * @throws IOException if tensors stand side by side as if quantized but do not fit together
   */
  public static Map<String, QuantizedTensor> find(Checkpoint checkpoint) throws IOException {
    Map<String, QuantizedTensor> found = new LinkedHashMap<>();
    Map<String, TensorInfo> tensors = checkpoint.tensors();
    for (TensorInfo stored : tensors.values()) {
      TensorInfo scale = tensors.get(stored.name() + "_scale");
      TensorInfo shape = tensors.get(stored.name() + "_shape");
      boolean int4 = stored.dtype() == DType.U8 && shape != null && shape.dtype() == DType.I64;
      if (scale != null && scale.dtype() == DType.F32 && (stored.dtype() == DType.I8 || int4)) {
        found.put(stored.name(), describe(checkpoint, stored, scale, int4 ? shape : null));
      }
    }
    return found;
  }

  /**
   * The name of a tensor that shows that the checkpoint is quantized already, whoever has done it;
   * empty if none does.
   */
  public static Optional<String> signOfQuantization(Checkpoint checkpoint) {
    Map<String, TensorInfo> tensors = checkpoint.tensors();
    for (TensorInfo tensor : tensors.values()) {
      String name = tensor.name();
      boolean scaled =
          tensors.containsKey(name + "_scale") || tensors.containsKey(name + "_scale_inv");
      boolean clustered = ClusteredTensor.hasCodebook(tensors, name);
      boolean packed = name.endsWith(".weight_packed") || name.endsWith(".qweight");
      // bitsandbytes: 4 bits in blocks, and 8 bits by row.
      boolean blocks = tensors.containsKey(name + ".absmax");
      boolean byRow =
          name.endsWith(".weight")
              && tensors.containsKey(name.substring(0, name.length() - "weight".length()) + "SCB");
      if ((scaled || clustered || packed || blocks || byRow) && !tensor.dtype().isFloating()) {
        return Optional.of(name);
      }
    }
    return Optional.empty();
  }

  private static QuantizedTensor describe(
      Checkpoint checkpoint, TensorInfo stored, TensorInfo scale, TensorInfo shape)
      throws IOException {
    TensorInfo logical =
        shape == null
            ? new TensorInfo(stored.name(), DType.F32, stored.shape())
            : PackedShape.read(checkpoint, stored, shape, 4);
    TensorInfo zeroPoint = checkpoint.tensors().get(stored.name() + "_zero_point");
    if (zeroPoint != null
        && (zeroPoint.dtype() != DType.I8 || zeroPoint.elements() != scale.elements())) {
      throw damaged(checkpoint, stored, "its zero points do not fit its scales");
    }
    long rows = logical.rows();
    long cols = logical.cols();
    long slices = scale.elements();
    long group = 0;
    if (slices != 1 && slices != rows && logical.elements() > 0) {
      if (slices == 0 || slices % rows != 0) {
        throw damaged(
            checkpoint, stored, slices + " scales do not fit a tensor of " + rows + " rows");
      }
      group = groupSize(checkpoint, stored, cols, slices / rows, shape != null);
    }
    return new QuantizedTensor(stored, logical, scale, zeroPoint, group);
  }

  // The recorded group size if it gives this many groups, else the one that divides evenly or is a
  // power of two. There are at least two groups; those of int4 end with a byte.
  private static long groupSize(
      Checkpoint checkpoint, TensorInfo stored, long cols, long groups, boolean int4)
      throws IOException {
    List<Long> candidates = new ArrayList<>();
    try {
      candidates.add(Long.parseLong(checkpoint.metadata().getOrDefault(GROUP_KEY, "0")));
    } catch (NumberFormatException e) {
      throw damaged(checkpoint, stored, "the metadata's " + GROUP_KEY + " is not a number");
    }
    if (cols % groups == 0) {
      candidates.add(cols / groups);
    }
    for (long size = 1; size < cols; size *= 2) {
      candidates.add(size);
    }
    for (long size : candidates) {
      boolean fits = size > 0 && cols / size + (cols % size == 0 ? 0 : 1) == groups;
      if (fits && !(int4 && size % 2 != 0)) {
        return size;
      }
    }
    throw damaged(
        checkpoint,
        stored,
        "its group size is unknown: " + groups + " groups of " + cols + " columns");
  }
}
