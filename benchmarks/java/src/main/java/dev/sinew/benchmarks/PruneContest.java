package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;

/** Pruning by threshold against hardshrink, which computes the same. */
final class PruneContest implements Contest {
  private static final float THRESHOLD = 0.5f;

  private final Data data;
  private final Tensor x;
  private final Tensor out;
  private final Tensor theirs;
  private final Tensor scratch;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private final org.bytedeco.pytorch.Tensor torchOut;
  private final Scalar lambda = new Scalar(THRESHOLD);
  private final float[] javaIn;
  private final float[] javaOut;

  PruneContest(Data data, boolean inPlace) {
    this.data = data;
    x = data.values();
    javaIn = x.toFloats();
    if (inPlace) {
      // The probe would overwrite the values.
      scratch = data.allocate(DType.F32);
      out = x;
      theirs = data.values();
      torchIn = Libtorch.view(theirs);
      torchOut = torchIn;
      javaOut = javaIn;
    } else {
      scratch = x;
      out = data.allocate(DType.F32);
      theirs = data.allocate(DType.F32);
      torchIn = Libtorch.view(x);
      torchOut = Libtorch.view(theirs);
      javaOut = new float[data.elements];
    }
  }

  @Override
  public long bytes() {
    return 2 * data.floatBytes();
  }

  @Override
  public void probe() {
    Ops.memoryProbe(scratch, out == x ? scratch : out);
  }

  @Override
  public void sinew() {
    Ops.pruneThreshold(x, THRESHOLD, out);
  }

  @Override
  public void libtorch() {
    torch.hardshrink_out(torchOut, torchIn, lambda).close();
  }

  @Override
  public void javaLoop() {
    data.forRows(row -> prune(javaIn, javaOut, row * data.cols, data.cols));
  }

  private static void prune(float[] in, float[] out, int from, int length) {
    for (int i = from; i < from + length; i++) {
      out[i] = Math.abs(in[i]) > THRESHOLD ? in[i] : 0;
    }
  }

  @Override
  public void check() {
    Libtorch.requireEqual(out, torchOut);
    data.requireEqual(out, javaOut);
  }

  @Override
  public void close() {
    x.close();
    out.close();
    theirs.close();
    scratch.close();
  }
}
