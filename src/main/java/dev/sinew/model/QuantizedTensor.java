package dev.sinew.model;

import dev.sinew.DType;
import java.io.IOException;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A tensor that a checkpoint stores as integers or 8-bit floats with scales: in the layout that
 * {@code dev.sinew.pass.Quantize} writes, or in that of compressed-tensors
 * (github.com/vllm-project/compressed-tensors: int-quantized, float-quantized, naive-quantized and
 * pack-quantized). The real values are {@code (q - zero_point) * scale}.
 *
 * <p>Layouts are recognised by the tensors alone, so that single files can be read. A slice, which
 * shares a scale, is the whole tensor, a row, or {@code group} consecutive elements of a row.
 *
 * @param encoding how the values are stored
 * @param stored the stored values
 * @param logical name and shape of the real tensor, as F32
 * @param scale F32, BF16 or F16, one element a slice
 * @param zeroPoint I8 with one element a slice, or null; beside packed values also I32 [ceil(rows x
 *     bits / 32), slices a row], each column packed downwards as the values are along rows
 * @param group elements of a row that share a scale; 0 for whole rows or the whole tensor
 * @param parts names of all stored tensors that make up this one
 */
public record QuantizedTensor(
    Encoding encoding,
    TensorInfo stored,
    TensorInfo logical,
    TensorInfo scale,
    TensorInfo zeroPoint,
    long group,
    Set<String> parts) {
  /** Metadata key under which the group size of a checkpoint is recorded. */
  public static final String GROUP_KEY = "sinew.group_size";

  private static final String PACKED = "_packed";
  private static final Set<DType> SCALE_TYPES = EnumSet.of(DType.F32, DType.BF16, DType.F16);

  /** How the values of a row are stored. */
  public enum Encoding {
    /** I8. */
    INT8(8),
    /** F8_E4M3. */
    FP8(8),
    /** U8 of two values each, stored as q + 8, low nibble first; rows end with a byte. */
    INT4(4),
    /** I32 of four values each, stored as q + 128, low bits first; rows end with a word. */
    PACKED_INT8(8),
    /** I32 of eight values each, stored as q + 8, low bits first; rows end with a word. */
    PACKED_INT4(4);

    private final int bits;

    Encoding(int bits) {
      this.bits = bits;
    }

    /** Bits of a value. */
    public int bits() {
      return bits;
    }

    /** Whether values stand in words of 32 bits. */
    public boolean isPacked() {
      return this == PACKED_INT8 || this == PACKED_INT4;
    }

    /** The bytes that a row of {@code cols} values takes. */
    public long rowBytes(long cols) {
      int perUnit = (isPacked() ? 32 : 8) / bits;
      return ceilDiv(cols, perUnit) * (isPacked() ? 4 : 1);
    }
  }

  public QuantizedTensor {
    parts = Set.copyOf(parts);
  }

  /**
   * Finds the quantized tensors of a checkpoint, by the names of the real tensors.
   *
   * @throws IOException if tensors stand side by side as if quantized but do not fit together
   */
  public static Map<String, QuantizedTensor> find(Checkpoint checkpoint) throws IOException {
    Map<String, QuantizedTensor> found = new LinkedHashMap<>();
    for (TensorInfo stored : checkpoint.tensors().values()) {
      String name = logicalName(checkpoint, stored);
      if (name != null) {
        found.put(name, new QuantizedTensorFinder(checkpoint, name, stored).describe());
      }
    }
    return found;
  }

  // The name of the real tensor that these values belong to, or null.
  private static String logicalName(Checkpoint checkpoint, TensorInfo stored) {
    Map<String, TensorInfo> tensors = checkpoint.tensors();
    boolean packed = stored.dtype() == DType.I32 && stored.name().endsWith(PACKED);
    String name =
        packed
            ? stored.name().substring(0, stored.name().length() - PACKED.length())
            : stored.name();
    TensorInfo scale = tensors.get(name + "_scale");
    if (scale == null || !SCALE_TYPES.contains(scale.dtype())) {
      return null;
    }
    TensorInfo shape = tensors.get(name + "_shape");
    boolean shaped = shape != null && shape.dtype() == DType.I64;
    boolean quantized =
        switch (stored.dtype()) {
          case I8, F8_E4M3 -> true;
          case U8 -> shaped && scale.dtype() == DType.F32;
          case I32 -> packed && shaped;
          default -> false;
        };
    return quantized ? name : null;
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

  static long ceilDiv(long a, long b) {
    return a / b + (a % b == 0 ? 0 : 1);
  }
}
