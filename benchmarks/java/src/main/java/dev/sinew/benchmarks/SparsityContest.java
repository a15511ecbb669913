package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.pass.Prune;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.global.torch;

/**
 * Pruning exactly half of the elements, against kthvalue and hardshrink. The rivals differ in ties:
 * Sinew prunes as many of the elements equal to the threshold as are wanted, in index order;
 * hardshrink prunes all.
 */
final class SparsityContest implements Contest {
  private static final int BINS = 1 << 16;
  private static final Prune HALF = Prune.sparsity(0.5, Prune.Scope.TENSOR);

  private final Data data;
  private final Tensor original;
  private final Tensor x;
  private final Tensor theirs;
  private final Tensor nothing;
  private final org.bytedeco.pytorch.Tensor torchIn;
  private final org.bytedeco.pytorch.Tensor torchOut;
  private final float[] javaIn;
  private final float[] javaOut;
  private float torchThreshold;

  SparsityContest(Data data) {
    this.data = data;
    original = data.values();
    x = data.allocate(DType.F32);
    theirs = data.allocate(DType.F32);
    nothing = Tensor.allocate(data.device, DType.F32, 0);
    torchIn = Libtorch.view(original);
    torchOut = Libtorch.view(theirs);
    javaIn = hasJavaLoop() ? original.toFloats() : null;
    javaOut = hasJavaLoop() ? new float[data.elements] : null;
  }

  // Two reads to find the threshold, then a read and a write.
  @Override
  public long bytes() {
    return 4 * data.floatBytes();
  }

  @Override
  public void probe() {
    Ops.memoryProbe(original, nothing);
    Ops.memoryProbe(original, nothing);
    Ops.memoryProbe(x, x);
  }

  @Override
  public void prepareSinew() {
    Ops.convert(original, x);
  }

  @Override
  public void sinew() {
    HALF.apply(x);
  }

  // Its selection runs on one thread and takes more than a second for 64 Mi elements.
  @Override
  public boolean hasLibtorch() {
    return data.elements <= 1 << 26;
  }

  @Override
  public void libtorch() {
    try (org.bytedeco.pytorch.Tensor magnitudes = torchIn.abs();
        org.bytedeco.pytorch.Tensor flat = magnitudes.view(data.elements);
        T_TensorTensor_T kth = torch.kthvalue(flat, data.elements / 2)) {
      torchThreshold = kth.get0().item_float();
      try (Scalar lambda = new Scalar(torchThreshold)) {
        torch.hardshrink_out(torchOut, torchIn, lambda).close();
      }
    }
  }

  @Override
  public boolean hasJavaLoop() {
    return data.device.threads() == 1 && data.elements <= 1 << 26;
  }

  @Override
  public void javaLoop() {
    long rank = data.elements / 2 - 1;
    long[] high = new long[BINS];
    for (float v : javaIn) {
      high[key(v) >>> 16]++;
    }
    int prefix = 0;
    for (; rank >= high[prefix]; prefix++) {
      rank -= high[prefix];
    }
    long[] low = new long[BINS];
    for (float v : javaIn) {
      if (key(v) >>> 16 == prefix) {
        low[key(v) & 0xffff]++;
      }
    }
    int suffix = 0;
    for (; rank >= low[suffix]; suffix++) {
      rank -= low[suffix];
    }
    int limit = prefix << 16 | suffix;
    long ties = rank + 1;
    for (int i = 0; i < javaIn.length; i++) {
      int key = key(javaIn[i]);
      boolean pruned = key < limit || key == limit && ties-- > 0;
      javaOut[i] = pruned ? 0 : javaIn[i];
    }
  }

  private static int key(float v) {
    return Float.floatToRawIntBits(v) & 0x7fffffff;
  }

  @Override
  public void check() {
    if (hasJavaLoop()) {
      data.requireEqual(x, javaOut);
    }
    try (Tensor result = Tensor.allocate(data.device, DType.F64, 8)) {
      Ops.statistics(x, result);
      if (result.toDoubles()[4] != data.elements / 2) {
        throw new AssertionError("Sinew pruned another number of elements than wanted");
      }
    }
    if (hasLibtorch()) {
      // Pruning the ties that are left makes the answers equal.
      Ops.pruneThreshold(x, torchThreshold, x);
      Libtorch.requireEqual(x, torchOut);
    }
  }

  @Override
  public void close() {
    original.close();
    x.close();
    theirs.close();
    nothing.close();
  }
}
