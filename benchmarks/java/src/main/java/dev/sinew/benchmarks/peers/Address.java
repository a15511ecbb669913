package dev.sinew.benchmarks.peers;

import dev.sinew.Tensor;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;

/** The memory of our tensors, and so our huge pages, for the presets of JavaCPP. */
public final class Address extends Pointer {
  private Address(long address) {
    super((Pointer) null);
    this.address = address;
  }

  public static Pointer of(Tensor tensor) {
    return new Address(tensor.address());
  }

  static FloatPointer floats(Tensor tensor) {
    return new FloatPointer(of(tensor));
  }

  static IntPointer ints(Tensor tensor) {
    return new IntPointer(of(tensor));
  }
}
