package dev.sinew.benchmarks.peers;

import java.util.List;

/** A library to compare with. */
interface Peer {
  String name();

  /** Its version, and what it says about itself. */
  String version();

  /** Limits the threads that compute, also for the contestants that exist. */
  void setThreads(int threads);

  /** Ready contestants; none for what the library does not have. */
  List<Contestant> contestants(Problem problem, LayerData data) throws Exception;
}
