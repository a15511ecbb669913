package dev.sinew.benchmarks.collectives;

/** MPI_Allreduce of the MPI that {@link dev.sinew.collective.Communicator#mpi} has started. */
final class OpenMpi extends AllReduce {
  static {
    System.load(System.getProperty("sinew.benchmark.mpi"));
  }

  /** The sum of F32 over all processes; gives MPI's error code. */
  private static native int allReduce(long x, long out, int elements);

  static native String version();

  @Override
  String name() {
    return "Open MPI";
  }

  @Override
  void run() {
    int code = allReduce(x.address(), out.address(), (int) x.elements());
    if (code != 0) {
      throw new IllegalStateException("MPI_Allreduce failed with code " + code);
    }
  }

  @Override
  public void close() {}
}
