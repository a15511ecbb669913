package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Functional;
import dev.sinew.Ops;
import dev.sinew.PackedWeights;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.ClusteredTensor;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.QuantizedParts;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Packs weights in the form in which a checkpoint stores them. Nothing is dequantized: integers and
 * 8-bit floats stay what they are, values of bitmaps and indices into codebooks as well.
 */
final class WeightPacker implements AutoCloseable {
  // Sums of more products than this may not fit the 32 bits that they are added up in.
  private static final long LONGEST_INT8_ROW = 65536;

  private final StateDict dict;
  private final LoadOptions options;
  private final float[] factors;
  private final Scope scope = new Scope();

  /**
   * @param factors what to multiply rows with, or null; only for forms that take them
   */
  WeightPacker(StateDict dict, LoadOptions options, float[] factors) {
    this.dict = dict;
    this.options = options;
    this.factors = factors;
  }

  PackedWeights plain(TensorInfo tensor) throws IOException {
    Tensor weight = scope.add(dict.readDense(tensor, options.host()));
    if (weight.dtype() == DType.F64 || factors != null && weight.dtype() != DType.F32) {
      Tensor converted = scope.allocate(options.host(), DType.F32, weight.shape());
      Ops.convert(weight, converted);
      weight = converted;
    }
    if (factors != null) {
      long rows = weight.rows();
      try (Tensor rowFactors = Tensor.of(factors, rows, 1);
          Tensor matrix = weight.view(0, rows, weight.cols())) {
        Functional.multiply(matrix, rowFactors, matrix);
      }
    }
    Tensor source = weight;
    return dict.timed(() -> PackedWeights.dense(there(source)));
  }

  PackedWeights quantized(QuantizedTensor tensor) throws IOException {
    QuantizedParts parts = dict.parts(tensor, scope);
    long cols = tensor.logical().cols();
    Tensor scales = scaled(parts.scale(), tensor);
    Tensor zeroPoints = spread(parts.zeroPoint(), scales.elements());
    return dict.timed(
        () -> {
          Tensor values = there(parts.values());
          Tensor scale = there(scales);
          Tensor zeroPoint = there(zeroPoints);
          if (tensor.encoding().bits() == 4) {
            return PackedWeights.w4(values, cols, scale, zeroPoint, parts.group());
          }
          boolean integers = values.dtype() == DType.I8;
          boolean dynamic = options.int8() == LoadOptions.Int8.DYNAMIC && cols <= LONGEST_INT8_ROW;
          if (!integers || parts.group() != 0 || !dynamic) {
            return PackedWeights.w8(values, scale, zeroPoint, parts.group());
          }
          // In all its dimensions: convolutions have their weights in another order.
          long[] shape = tensor.logical().shape().stream().mapToLong(Long::longValue).toArray();
          try (Tensor weight = values.view(0, shape)) {
            return PackedWeights.w8a8(weight, scale, zeroPoint);
          }
        });
  }

  PackedWeights sparse(BitmapTensor tensor, QuantizedTensor integers) throws IOException {
    Tensor values = scope.add(dict.readStored(tensor.values(), options.host()));
    Tensor bitmap = scope.add(dict.readStored(tensor.bitmap(), options.host()));
    Tensor offsets = scope.add(dict.readStored(tensor.rowOffsets(), options.host()));
    Tensor scale = null;
    if (integers != null) {
      scale = scaled(scope.add(dict.readDense(integers.scale(), options.host())), integers);
    }
    Tensor scales = scale;
    long cols = tensor.logical().cols();
    long group = integers == null ? 0 : integers.group();
    try {
      return dict.timed(
          () ->
              PackedWeights.sparse(
                  there(values), there(bitmap), there(offsets), there(scales), group, cols));
    } catch (IllegalArgumentException e) {
      throw tensor.damaged(dict.stored(), e.getMessage(), e);
    }
  }

  PackedWeights clustered(ClusteredTensor tensor) throws IOException {
    Tensor indices = scope.add(dict.readDense(tensor.stored(), options.host()));
    Tensor codebook = scope.add(dict.readDense(tensor.codebook(), options.host()));
    long rows = tensor.logical().rows();
    Tensor matrix = scope.add(indices.view(0, rows, tensor.rowBytes()));
    return dict.timed(
        () -> PackedWeights.clustered(there(matrix), there(codebook), tensor.logical().cols()));
  }

  // On the device that packs; everything before happens in the host's memory.
  private Tensor there(Tensor tensor) {
    return options.onDevice(tensor, scope);
  }

  // The scales of all rows, multiplied with the factors of the rows; one for the whole tensor
  // becomes one for each row then.
  private Tensor scaled(Tensor stored, QuantizedTensor tensor) {
    Tensor scale = stored;
    if (scale.dtype() != DType.F32) {
      Tensor converted = scope.allocate(options.host(), DType.F32, scale.shape());
      Ops.convert(scale, converted);
      scale = converted;
    }
    if (factors == null) {
      return scale;
    }
    float[] before = scale.toFloats();
    int rows = factors.length;
    int perRow = Math.max(1, before.length / rows);
    float[] after = new float[rows * perRow];
    for (int i = 0; i < after.length; i++) {
      after[i] = before[before.length == 1 ? 0 : i] * factors[i / perRow];
    }
    return scope.add(Tensor.of(after, after.length));
  }

  private Tensor spread(Tensor zeroPoint, long count) {
    if (zeroPoint == null || zeroPoint.elements() == count) {
      return zeroPoint;
    }
    byte[] all = new byte[(int) count];
    java.util.Arrays.fill(all, zeroPoint.toBytes()[0]);
    Tensor spread = scope.allocate(options.host(), DType.I8, count);
    spread.copyFrom(0, ByteBuffer.wrap(all).order(ByteOrder.LITTLE_ENDIAN));
    return spread;
  }

  @Override
  public void close() {
    scope.close();
  }
}
