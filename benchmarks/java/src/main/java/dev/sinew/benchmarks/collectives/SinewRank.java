package dev.sinew.benchmarks.collectives;

import dev.sinew.collective.Communicator;
import dev.sinew.collective.ReduceOp;

/** This process's rank of a group of Sinew's. */
final class SinewRank extends AllReduce {
  private final String name;
  private final Communicator communicator;

  SinewRank(String name, Communicator communicator) {
    this.name = name;
    this.communicator = communicator;
  }

  @Override
  String name() {
    return name;
  }

  @Override
  void run() {
    communicator.allReduce(x, ReduceOp.SUM, out);
  }

  @Override
  public void close() {
    communicator.close();
  }
}
