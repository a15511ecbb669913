package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Symmetric int8 and back in one pass against fake_quantize_per_tensor_affine, which also writes a
 * mask for its gradient.
 */
final class FakeQuantizeContest implements Contest {
  private final Data data;
  private final Tensor x;
  private final Tensor y;
  private final Scales scales;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private org.bytedeco.pytorch.Tensor torchOut;
  private final float[] javaIn;
  private final float[] javaOut;

  FakeQuantizeContest(Data data) {
    this.data = data;
    x = data.values();
    y = data.allocate(DType.F32);
    scales = new Scales(data, false);
    torchIn = Libtorch.view(x);
    javaIn = x.toFloats();
    javaOut = new float[data.elements];
  }

  @Override
  public long bytes() {
    return 2 * data.floatBytes();
  }

  @Override
  public void probe() {
    Ops.memoryProbe(x, y);
  }

  @Override
  public void sinew() {
    Ops.fakeQuantize(x, scales.tensor, null, 0, QuantScheme.INT8_SYMMETRIC, y);
  }

  @Override
  public void libtorch() {
    torchOut = torch.fake_quantize_per_tensor_affine(torchIn, Scales.SCALE, 0L, -127, 127);
  }

  @Override
  public void cleanLibtorch() {
    torchOut.close();
  }

  @Override
  public void javaLoop() {
    data.forRows(row -> fakeQuantize(javaIn, javaOut, row * data.cols, data.cols));
  }

  private static void fakeQuantize(float[] in, float[] out, int from, int length) {
    for (int i = from; i < from + length; i++) {
      float steps = (float) Math.rint(in[i] / Scales.SCALE);
      out[i] = Math.max(-127f, Math.min(127f, steps)) * Scales.SCALE;
    }
  }

  @Override
  public void check() {
    Libtorch.requireEqual(y, torchOut);
    // A negative number that rounds to zero: Math.rint gives -0, which equals the 0 of the others.
    data.requireEqual(y, javaOut);
  }

  @Override
  public void close() {
    x.close();
    y.close();
    scales.close();
  }
}
