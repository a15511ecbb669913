package dev.sinew.benchmarks;

import dev.sinew.DType;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** What the contests need of libtorch beside its kernels. */
final class Libtorch {
  private Libtorch() {}

  /** Threads of a parallel loop; counts for the calling thread. */
  static void setThreads(int threads) {
    torch.set_num_threads(threads);
    if (torch.get_num_threads() != threads) {
      throw new AssertionError("libtorch runs with " + torch.get_num_threads() + " threads");
    }
  }

  /** A libtorch tensor [rows, cols] over the memory, and so over the huge pages, of one of ours. */
  static Tensor view(dev.sinew.Tensor tensor) {
    ScalarType type =
        switch (tensor.dtype()) {
          case F32 -> ScalarType.Float;
          case I8 -> ScalarType.Char;
          default -> throw new IllegalArgumentException(tensor.dtype().toString());
        };
    long[] shape = tensor.shape();
    return torch.from_blob(new Address(tensor.address()), shape, new TensorOptions(type));
  }

  /**
   * Fails unless both hold the same bits.
   *
   * @param theirs F32 or a quantized tensor
   */
  static void requireEqual(dev.sinew.Tensor ours, Tensor theirs) {
    boolean floating = ours.dtype() == DType.F32;
    try (Tensor mine = view(ours);
        Tensor a = floating ? mine.view(ScalarType.Int) : mine.view(ScalarType.Char);
        Tensor b = floating ? theirs.view(ScalarType.Int) : theirs.int_repr()) {
      if (!torch.equal(a, b)) {
        throw new AssertionError("libtorch's answer differs");
      }
    }
  }

  private static final class Address extends Pointer {
    Address(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }
}
