package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Symmetric int8 with given scales against quantize_per_tensor and quantize_per_channel. */
final class QuantizeContest implements Contest {
  private final Data data;
  private final boolean perChannel;
  private final Tensor x;
  private final Tensor q;
  private final Scales scales;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private org.bytedeco.pytorch.Tensor torchOut;
  private final float[] javaIn;
  private final byte[] javaOut;

  QuantizeContest(Data data, boolean perChannel) {
    this.data = data;
    this.perChannel = perChannel;
    x = data.values();
    q = data.allocate(DType.I8);
    scales = new Scales(data, perChannel);
    torchIn = Libtorch.view(x);
    javaIn = x.toFloats();
    javaOut = new byte[data.elements];
  }

  @Override
  public long bytes() {
    return data.floatBytes() + data.elements;
  }

  @Override
  public void probe() {
    Ops.memoryProbe(x, q);
  }

  @Override
  public void sinew() {
    Ops.quantize(x, scales.tensor, null, 0, q);
  }

  @Override
  public void libtorch() {
    torchOut =
        perChannel
            ? torch.quantize_per_channel(
                torchIn, scales.torchScales, scales.torchZeroPoints, 0, ScalarType.QInt8)
            : torch.quantize_per_tensor(torchIn, Scales.SCALE, 0, ScalarType.QInt8);
  }

  @Override
  public void cleanLibtorch() {
    torchOut.close();
  }

  @Override
  public void javaLoop() {
    data.forRows(row -> quantize(javaIn, javaOut, row * data.cols, data.cols, scales.ofRow(row)));
  }

  static void quantize(float[] in, byte[] out, int from, int length, float scale) {
    for (int i = from; i < from + length; i++) {
      float steps = (float) Math.rint(in[i] / scale);
      out[i] = (byte) Math.max(-127f, Math.min(127f, steps));
    }
  }

  @Override
  public void check() {
    Libtorch.requireEqual(q, torchOut);
    data.requireEqual(q, javaOut);
  }

  @Override
  public void close() {
    x.close();
    q.close();
    scales.close();
  }
}
