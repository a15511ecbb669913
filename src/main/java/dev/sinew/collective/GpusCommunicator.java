package dev.sinew.collective;

import dev.sinew.Tensor;

/**
 * A rank of GPUs of one host whose large messages go by way of NCCL, and all others by way of
 * Sinew's own kernels. All ranks choose alike, or the group finds that they disagree.
 */
final class GpusCommunicator extends Communicator {
  private final NativeCommunicator own;
  private final NcclCommunicator nccl;
  private final long ncclFrom;

  /**
   * @param nccl which lets its ranks agree by {@code own}
   * @param ncclFrom bytes of the messages that are NCCL's
   */
  GpusCommunicator(NativeCommunicator own, NcclCommunicator nccl, long ncclFrom) {
    super(own.rank(), own.size());
    this.own = own;
    this.nccl = nccl;
    this.ncclFrom = ncclFrom;
  }

  @Override
  public void allReduce(Tensor x, ReduceOp op, Tensor out) {
    call(of(x), c -> c.allReduce(x, op, out));
  }

  @Override
  public void allReduceCompressed(Tensor x, ReduceOp op, Tensor out) {
    call(own, c -> c.allReduceCompressed(x, op, out));
  }

  @Override
  public void allReduceRmsNorm(
      Tensor x, Tensor residual, Tensor weight, double eps, Tensor sum, Tensor y) {
    call(own, c -> c.allReduceRmsNorm(x, residual, weight, eps, sum, y));
  }

  @Override
  public void reduceScatter(Tensor x, ReduceOp op, Tensor out) {
    call(of(x), c -> c.reduceScatter(x, op, out));
  }

  @Override
  public void allGather(Tensor x, Tensor out) {
    call(of(out), c -> c.allGather(x, out));
  }

  @Override
  public void broadcast(Tensor x, int root) {
    call(of(x), c -> c.broadcast(x, root));
  }

  @Override
  public void barrier() {
    call(own, Communicator::barrier);
  }

  // What moves a message of this tensor's size.
  private Communicator of(Tensor whole) {
    return whole != null && whole.byteSize() >= ncclFrom ? nccl : own;
  }

  private interface Call {
    void run(Communicator communicator);
  }

  private void call(Communicator communicator, Call call) {
    alone(
        () -> {
          nccl.requireUsable();
          try {
            call.run(communicator);
          } catch (RankFailedException e) {
            if (communicator == nccl) {
              own.close(); // tells the others
            }
            throw e;
          }
        });
  }

  @Override
  public void close() {
    alone(
        () -> {
          own.close();
          nccl.close();
        });
  }
}
