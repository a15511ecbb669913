package dev.sinew.collective;

import dev.sinew.Tensor;
import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.Status;
import dev.sinew.internal.TensorAccess;
import dev.sinew.internal.sn_communicator;
import dev.sinew.internal.sn_tensor;
import java.lang.ref.Reference;
import java.util.Objects;

/** A rank of a group of the native library: threads, processes, GPUs of one process, or MPI's. */
final class NativeCommunicator extends Communicator {
  private final Handle<sn_communicator> handle;

  NativeCommunicator(sn_communicator pointer) {
    super(
        SinewNative.sn_communicator_rank(pointer), SinewNative.sn_communicator_world_size(pointer));
    this.handle = new Handle<>(this, "communicator", pointer, SinewNative::sn_communicator_close);
  }

  @Override
  public void allReduce(Tensor x, ReduceOp op, Tensor out) {
    int code = op.code();
    call((c, t) -> SinewNative.sn_all_reduce(c, t[0], code, t[1]), x, out);
  }

  @Override
  public void allReduceCompressed(Tensor x, ReduceOp op, Tensor out) {
    int code = op.code();
    call((c, t) -> SinewNative.sn_all_reduce_compressed(c, t[0], code, t[1]), x, out);
  }

  @Override
  public void allReduceRmsNorm(
      Tensor x, Tensor residual, Tensor weight, double eps, Tensor sum, Tensor y) {
    Call call = (c, t) -> SinewNative.sn_all_reduce_rms_norm(c, t[0], t[1], t[2], eps, t[3], t[4]);
    call(call, x, residual, weight, sum, y);
  }

  @Override
  public void reduceScatter(Tensor x, ReduceOp op, Tensor out) {
    int code = op.code();
    call((c, t) -> SinewNative.sn_reduce_scatter(c, t[0], code, t[1]), x, out);
  }

  @Override
  public void allGather(Tensor x, Tensor out) {
    call((c, t) -> SinewNative.sn_all_gather(c, t[0], t[1]), x, out);
  }

  @Override
  public void broadcast(Tensor x, int root) {
    Objects.requireNonNull(x, "x");
    call((c, t) -> SinewNative.sn_broadcast(c, root, t[0]), x);
  }

  @Override
  public void barrier() {
    call((c, t) -> SinewNative.sn_barrier(c));
  }

  /** A barrier of ranks that are about to do what they have all asked for by other means. */
  void agree(Agreement.Request r) {
    int dtype = TensorAccess.get().code(r.dtype());
    call(
        (c, t) ->
            SinewNative.sn_agree(c, r.operation(), dtype, r.reduction(), r.root(), r.elements()));
  }

  @Override
  public void close() {
    handle.close();
    Reference.reachabilityFence(this);
  }

  private interface Call {
    int run(sn_communicator communicator, sn_tensor[] tensors);
  }

  // Keeps the communicator and the tensors, of which null ones are not there, open during a call;
  // not the device, whose threads do not compute: its counter would move from rank to rank.
  private void call(Call call, Tensor... tensors) {
    sn_communicator pointer = handle.acquire();
    try {
      alone(() -> callWithTensors(pointer, call, tensors));
    } finally {
      handle.release();
      Reference.reachabilityFence(this);
    }
  }

  private static void callWithTensors(sn_communicator pointer, Call call, Tensor[] tensors) {
    sn_tensor[] pointers = new sn_tensor[tensors.length];
    int acquired = 0;
    try {
      for (; acquired < tensors.length; acquired++) {
        pointers[acquired] = acquire(tensors[acquired]);
      }
      int status = call.run(pointer, pointers);
      if (status == SinewNative.SN_RANK_FAILED) {
        throw new RankFailedException(
            SinewNative.sn_communicator_failed_rank(pointer), Status.lastError());
      }
      Status.check(status);
    } finally {
      while (acquired > 0) {
        release(tensors[--acquired]);
      }
    }
  }

  private static sn_tensor acquire(Tensor tensor) {
    return tensor == null ? null : TensorAccess.get().acquire(tensor);
  }

  private static void release(Tensor tensor) {
    if (tensor != null) {
      TensorAccess.get().release(tensor);
      Reference.reachabilityFence(tensor);
    }
  }
}
