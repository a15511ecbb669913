package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** int8 per tensor back to F32 against dequantize. */
final class DequantizeContest implements Contest {
  private final Data data;
  private final Tensor q;
  private final Tensor y;
  private final Scales scales;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private org.bytedeco.pytorch.Tensor torchOut;
  private final byte[] javaIn;
  private final float[] javaOut;

  DequantizeContest(Data data) {
    this.data = data;
    q = data.allocate(DType.I8);
    scales = new Scales(data, false);
    y = data.values();
    Ops.quantize(y, scales.tensor, null, 0, q);
    try (org.bytedeco.pytorch.Tensor x = Libtorch.view(y)) {
      torchIn = torch.quantize_per_tensor(x, Scales.SCALE, 0, ScalarType.QInt8);
    }
    javaIn = q.toBytes();
    javaOut = new float[data.elements];
  }

  @Override
  public long bytes() {
    return data.elements + data.floatBytes();
  }

  @Override
  public void probe() {
    Ops.memoryProbe(q, y);
  }

  @Override
  public void sinew() {
    Ops.dequantize(q, scales.tensor, null, 0, y);
  }

  @Override
  public void libtorch() {
    torchOut = torch.dequantize(torchIn);
  }

  @Override
  public void cleanLibtorch() {
    torchOut.close();
  }

  @Override
  public void javaLoop() {
    data.forRows(row -> dequantize(javaIn, javaOut, row * data.cols, data.cols));
  }

  private static void dequantize(byte[] in, float[] out, int from, int length) {
    for (int i = from; i < from + length; i++) {
      out[i] = in[i] * Scales.SCALE;
    }
  }

  @Override
  public void check() {
    Libtorch.requireEqual(y, torchOut);
    data.requireEqual(y, javaOut);
  }

  @Override
  public void close() {
    q.close();
    y.close();
    scales.close();
    torchIn.close();
  }
}
