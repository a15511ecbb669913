package dev.sinew.model;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.QuantizedTensor.Encoding;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Checks that the tensors of one {@link QuantizedTensor} fit together, and describes it. */
final class QuantizedTensorFinder {
  private static final int INDEX_PIECE = 1 << 16; // bytes of group indices read at a time

  private final Checkpoint checkpoint;
  private final Map<String, TensorInfo> tensors;
  private final String name;
  private final TensorInfo stored;
  private final TensorInfo scale;
  private final Set<String> parts = new HashSet<>();

  /**
   * @param name of the real tensor, whose scale the checkpoint has
   */
  QuantizedTensorFinder(Checkpoint checkpoint, String name, TensorInfo stored) {
    this.checkpoint = checkpoint;
    this.tensors = checkpoint.tensors();
    this.name = name;
    this.stored = stored;
    this.scale = tensors.get(name + "_scale");
    parts.add(stored.name());
    parts.add(scale.name());
  }

  QuantizedTensor describe() throws IOException {
    boolean shaped = stored.dtype() == DType.U8 || stored.dtype() == DType.I32;
    TensorInfo logical = shaped ? readShape() : new TensorInfo(name, DType.F32, stored.shape());
    Encoding encoding = encoding(logical);
    long group = group(logical, encoding);
    TensorInfo zeroPoint = zeroPoint(logical, encoding);
    requireTrivialIndex(logical, group);
    return new QuantizedTensor(encoding, stored, logical, scale, zeroPoint, group, parts);
  }

  private TensorInfo readShape() throws IOException {
    TensorInfo shape = tensors.get(name + "_shape");
    parts.add(shape.name());
    Optional<List<Long>> stated = StoredShape.read(checkpoint, shape);
    if (stated.isEmpty()) {
      throw damaged("its shape is not a list of at most 64 numbers");
    }
    List<Long> dimensions = stated.get();
    try {
      return new TensorInfo(name, DType.F32, dimensions);
    } catch (IllegalArgumentException e) {
      throw damaged("its shape " + dimensions + " is impossible");
    }
  }

  private Encoding encoding(TensorInfo logical) throws CheckpointException {
    switch (stored.dtype()) {
      case I8:
        return Encoding.INT8;
      case F8_E4M3:
        return Encoding.FP8;
      case U8:
        requireBytes(logical, Encoding.INT4);
        return Encoding.INT4;
      default:
        // Rows of up to 4 values take one word either way; 4 bits are the common case.
        for (Encoding packed : List.of(Encoding.PACKED_INT4, Encoding.PACKED_INT8)) {
          if (stored.shape().size() == 2
              && stored.rows() == logical.rows()
              && 4 * stored.cols() == packed.rowBytes(logical.cols())) {
            return packed;
          }
        }
        throw damaged(
            "its shape "
                + logical.shape()
                + " does not fit words of "
                + Messages.brief(stored.shape().toString())
                + " that hold 4 or 8 bits a value");
    }
  }

  private void requireBytes(TensorInfo logical, Encoding encoding) throws CheckpointException {
    long rowBytes = encoding.rowBytes(logical.cols());
    boolean empty = logical.elements() == 0;
    if (!empty && logical.rows() > Long.MAX_VALUE / rowBytes
        || (empty ? 0 : logical.rows() * rowBytes) != stored.elements()) {
      throw damaged(
          "its shape " + logical.shape() + " does not fit its " + stored.elements() + " bytes");
    }
  }

  private TensorInfo zeroPoint(TensorInfo logical, Encoding encoding) throws CheckpointException {
    TensorInfo zeroPoint = tensors.get(name + "_zero_point");
    if (zeroPoint == null) {
      return null;
    }
    parts.add(zeroPoint.name());
    if (encoding == Encoding.FP8) {
      throw damaged("values of F8_E4M3 have no zero points");
    }
    long slices = scale.elements();
    boolean plain = zeroPoint.dtype() == DType.I8 && zeroPoint.elements() == slices;
    boolean packed =
        encoding.isPacked()
            && zeroPoint.dtype() == DType.I32
            && logical.elements() > 0
            && slices % logical.rows() == 0
            && zeroPoint.shape().size() == 2
            && 4 * zeroPoint.rows() == encoding.rowBytes(logical.rows())
            && zeroPoint.cols() == slices / logical.rows();
    if (!plain && !packed) {
      throw damaged("its zero points do not fit its scales");
    }
    return zeroPoint;
  }

  private long group(TensorInfo logical, Encoding encoding) throws CheckpointException {
    long rows = logical.rows();
    long slices = scale.elements();
    if (logical.elements() == 0 || slices == 1) {
      return 0;
    }
    boolean blocks = scale.shape().size() > 1 && scale.shape().get(0) != rows;
    if (slices == 0 || slices % rows != 0 || blocks) {
      throw damaged(
          slices
              + " scales of shape "
              + Messages.brief(scale.shape().toString())
              + " do not fit a tensor of "
              + rows
              + " rows");
    }
    return slices == rows ? 0 : groupSize(logical.cols(), slices / rows, encoding);
  }

  // The recorded group size if it gives this many groups, else the one that divides evenly or is a
  // power of two. There are at least two groups; those of int4 end with a byte.
  private long groupSize(long cols, long groups, Encoding encoding) throws CheckpointException {
    List<Long> candidates = new ArrayList<>();
    try {
      candidates.add(
          Long.parseLong(checkpoint.metadata().getOrDefault(QuantizedTensor.GROUP_KEY, "0")));
    } catch (NumberFormatException e) {
      throw damaged("the metadata's " + QuantizedTensor.GROUP_KEY + " is not a number");
    }
    if (cols % groups == 0) {
      candidates.add(cols / groups);
    }
    for (long size = 1; size < cols; size *= 2) {
      candidates.add(size);
    }
    for (long size : candidates) {
      boolean fits = size > 0 && QuantizedTensor.ceilDiv(cols, size) == groups;
      if (fits && !(encoding.bits() == 4 && size % 2 != 0)) {
        return size;
      }
    }
    throw damaged("its group size is unknown: " + groups + " groups of " + cols + " columns");
  }

  // Columns that were sorted before they were grouped have an index of groups; all else may have
  // one that says what holds without it.
  private void requireTrivialIndex(TensorInfo logical, long group) throws IOException {
    TensorInfo index = tensors.get(name + "_g_idx");
    if (index == null) {
      return;
    }
    parts.add(index.name());
    if (index.dtype() != DType.I32 || index.elements() != logical.cols()) {
      throw damaged("its " + Messages.quote(index.name()) + " does not fit its columns");
    }
    ByteBuffer bytes =
        ByteBuffer.allocate((int) Math.min(INDEX_PIECE, index.bytes()))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (long offset = 0; offset < index.bytes(); offset += INDEX_PIECE) {
      bytes.clear().limit((int) Math.min(INDEX_PIECE, index.bytes() - offset));
      checkpoint.read(index.name(), offset, bytes);
      bytes.flip();
      for (long col = offset / 4; bytes.hasRemaining(); col++) {
        int found = bytes.getInt();
        if (found != -1 && found != (group == 0 ? 0 : col / group)) {
          throw new CheckpointException(
              Messages.quote(checkpoint.path())
                  + " cannot be dequantized: "
                  + Messages.quote(index.name())
                  + " sorts columns by activation order, which Sinew does not read; quantize the"
                  + " model without activation ordering");
        }
      }
    }
  }

  private CheckpointException damaged(String why) {
    return new CheckpointException(
        Messages.quote(checkpoint.path())
            + " cannot be dequantized: tensor "
            + Messages.quote(stored.name())
            + " looks quantized, but "
            + why
            + "; quantize the original model again");
  }
}
