package dev.sinew;

import dev.sinew.internal.Status;
import dev.sinew.internal.sn_tensor;
import dev.sinew.internal.sn_weights;
import java.lang.ref.Reference;

/** Keeps what a native call uses open while it runs, and turns its status into an exception. */
final class NativeCall {
  private NativeCall() {}

  interface Call {
    int run(sn_tensor a, sn_tensor b, sn_tensor c, sn_tensor d);
  }

  // Keeps up to four tensors open during a native call, and the device of the first, whose threads
  // compute; null stands for a tensor that is not there.
  static void call(Tensor a, Tensor b, Tensor c, Tensor d, Call call) {
    if (a == null) {
      callWithTensors(a, b, c, d, call);
      return;
    }
    a.device().acquire();
    try {
      callWithTensors(a, b, c, d, call);
    } finally {
      a.device().release();
    }
  }

  private static void callWithTensors(Tensor a, Tensor b, Tensor c, Tensor d, Call call) {
    sn_tensor pa = acquire(a);
    try {
      sn_tensor pb = acquire(b);
      try {
        sn_tensor pc = acquire(c);
        try {
          sn_tensor pd = acquire(d);
          try {
            Status.check(call.run(pa, pb, pc, pd));
          } finally {
            release(d);
          }
        } finally {
          release(c);
        }
      } finally {
        release(b);
      }
    } finally {
      release(a);
    }
  }

  interface ManyCall {
    int run(sn_tensor[] tensors);
  }

  // As call, for any number of tensors, the first of which is there.
  static void callMany(ManyCall call, Tensor... tensors) {
    Device device = tensors[0].device();
    device.acquire();
    int held = 0;
    try {
      sn_tensor[] pointers = new sn_tensor[tensors.length];
      for (; held < tensors.length; held++) {
        pointers[held] = acquire(tensors[held]);
      }
      Status.check(call.run(pointers));
    } finally {
      while (held > 0) {
        release(tensors[--held]);
      }
      device.release();
    }
  }

  interface WeightsCall {
    int run(sn_tensor a, sn_weights weights, sn_tensor b, sn_tensor c);
  }

  // As call, for up to three tensors and packed weights, any of which may be null.
  static void callWithWeights(
      Tensor a, PackedWeights weights, Tensor b, Tensor c, WeightsCall call) {
    if (weights == null) {
      call(a, b, c, null, (pa, pb, pc, d) -> call.run(pa, null, pb, pc));
      return;
    }
    sn_weights pointer = weights.acquire();
    try {
      call(a, b, c, null, (pa, pb, pc, d) -> call.run(pa, pointer, pb, pc));
    } finally {
      weights.release();
      Reference.reachabilityFence(weights);
    }
  }

  private static sn_tensor acquire(Tensor tensor) {
    return tensor == null ? null : tensor.acquire();
  }

  private static void release(Tensor tensor) {
    if (tensor != null) {
      tensor.release();
      Reference.reachabilityFence(tensor);
    }
  }
}
