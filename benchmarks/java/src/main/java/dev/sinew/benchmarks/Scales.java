package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * Scales that are powers of two, for one tensor or for each row: libtorch multiplies by the
 * reciprocal where Sinew divides, and only for these are the results the same, bit for bit.
 */
final class Scales implements AutoCloseable {
  /** The scale per tensor; the integers span (-96, 96). */
  static final float SCALE = 1 / 32f;

  final float[] values;
  final Tensor tensor;
  final org.bytedeco.pytorch.Tensor torchScales;
  final org.bytedeco.pytorch.Tensor torchZeroPoints;

  Scales(Data data, boolean perChannel) {
    values = new float[perChannel ? data.rows : 1];
    for (int i = 0; i < values.length; i++) {
      values[i] = SCALE * (1 << i % 3);
    }
    tensor = Tensor.allocate(data.device, DType.F32, values.length);
    tensor.withBuffer(0, 4 * values.length, buffer -> buffer.asFloatBuffer().put(values));
    torchScales = Libtorch.view(tensor);
    torchZeroPoints =
        torch.zeros(new long[] {values.length}, new TensorOptions(torch.ScalarType.Long));
  }

  float ofRow(int row) {
    return values[values.length == 1 ? 0 : row];
  }

  @Override
  public void close() {
    tensor.close();
  }
}
