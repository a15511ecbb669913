package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.pass.Quantize;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Choosing the scales of all channels and quantizing with them, as {@code optimize --quantize int8}
 * does, against aminmax and quantize_per_channel. Here libtorch's integers may differ by one: it
 * multiplies by the scale's reciprocal, which is not exact.
 */
final class RangeContest implements Contest {
  private static final Quantize INT8 = Quantize.int8();

  private final Data data;
  private final Tensor x;
  private final Tensor q;
  private final Tensor scale;
  private final Tensor nothing;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private final org.bytedeco.pytorch.Tensor zeroPoints;
  private org.bytedeco.pytorch.Tensor torchOut;
  private final float[] javaIn;
  private final byte[] javaOut;

  RangeContest(Data data) {
    this.data = data;
    x = data.values();
    q = data.allocate(DType.I8);
    scale = Tensor.allocate(data.device, DType.F32, data.rows);
    nothing = Tensor.allocate(data.device, DType.F32, 0);
    torchIn = Libtorch.view(x);
    zeroPoints =
        torch.zeros(
            new long[] {data.rows}, new org.bytedeco.pytorch.TensorOptions(ScalarType.Long));
    javaIn = x.toFloats();
    javaOut = new byte[data.elements];
  }

  @Override
  public long bytes() {
    return 2 * data.floatBytes() + data.elements;
  }

  @Override
  public void probe() {
    Ops.memoryProbe(x, nothing);
    Ops.memoryProbe(x, q);
  }

  @Override
  public void sinew() {
    INT8.apply(x, q, scale, null);
  }

  @Override
  public void libtorch() {
    try (T_TensorTensor_T range = torch.aminmax(torchIn, new LongOptional(1), false);
        org.bytedeco.pytorch.Tensor low = range.get0().neg();
        org.bytedeco.pytorch.Tensor largest = torch.maximum(low, range.get1());
        Scalar steps = new Scalar(127f);
        org.bytedeco.pytorch.Tensor scales = largest.div(steps)) {
      torchOut = torch.quantize_per_channel(torchIn, scales, zeroPoints, 0, ScalarType.QInt8);
    }
  }

  @Override
  public void cleanLibtorch() {
    torchOut.close();
  }

  @Override
  public void javaLoop() {
    data.forRows(
        row -> {
          int from = row * data.cols;
          float largest = largest(javaIn, from, data.cols);
          QuantizeContest.quantize(javaIn, javaOut, from, data.cols, largest / 127);
        });
  }

  private static float largest(float[] in, int from, int length) {
    float largest = 0;
    for (int i = from; i < from + length; i++) {
      largest = Math.max(largest, Math.abs(in[i]));
    }
    return largest;
  }

  @Override
  public void check() {
    data.requireEqual(q, javaOut);
    try (org.bytedeco.pytorch.Tensor mine = Libtorch.view(q);
        org.bytedeco.pytorch.Tensor theirs = torchOut.int_repr();
        org.bytedeco.pytorch.Tensor difference = mine.sub(theirs);
        org.bytedeco.pytorch.Tensor magnitude = difference.abs();
        org.bytedeco.pytorch.Tensor largest = magnitude.max()) {
      if (largest.item_int() > 1) {
        throw new AssertionError("libtorch's answer differs by " + largest.item_int());
      }
    }
  }

  @Override
  public void close() {
    x.close();
    q.close();
    scale.close();
    nothing.close();
  }
}
