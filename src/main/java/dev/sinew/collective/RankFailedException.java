package dev.sinew.collective;

/**
 * A rank has ended, is late, has closed its communicator, or asks for something else than the
 * others; or a group of processes has not come together. The message names the rank and what
 * differed. The communicator is unusable from then on.
 */
public class RankFailedException extends IllegalStateException {
  private final int rank;

  public RankFailedException(int rank, String message) {
    super(message);
    this.rank = rank;
  }

  /** The rank that failed, as seen by the one that noticed first; -1 if that is not known. */
  public int rank() {
    return rank;
  }
}
