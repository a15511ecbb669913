package dev.sinew.collective;

import dev.sinew.DType;
import dev.sinew.internal.SinewNative;
import java.util.Locale;

/**
 * Compares what all ranks are about to do by way of NCCL, which would hang or mix up their tensors
 * if they disagreed.
 */
interface Agreement extends AutoCloseable {
  /** Where nothing is compared. */
  Agreement NONE = request -> {};

  /**
   * Returns when all ranks have called it with the same request.
   *
   * @throws RankFailedException if a rank asks for something else, is late, or has gone
   */
  void agree(Request request);

  @Override
  default void close() {}

  /**
   * What a rank asks for.
   *
   * @param operation of sinew.h, as the reduction
   * @param elements of the input
   */
  record Request(int operation, DType dtype, int reduction, int root, long elements) {
    String name() {
      return switch (operation) {
        case SinewNative.SN_ALL_REDUCE -> "all-reduce";
        case SinewNative.SN_REDUCE_SCATTER -> "reduce-scatter";
        case SinewNative.SN_ALL_GATHER -> "all-gather";
        case SinewNative.SN_BROADCAST -> "broadcast";
        case SinewNative.SN_BARRIER -> "barrier";
        default -> "unknown";
      };
    }

    /** "rank 2 has 1001 elements where rank 0 has 1000, in all-reduce" */
    String differenceFrom(Request other, int rank, int otherRank) {
      if (operation != other.operation) {
        return say("calls " + name(), rank, "calls " + other.name(), otherRank);
      }
      String difference;
      if (dtype != other.dtype) {
        difference = say("has " + dtype, rank, "has " + other.dtype, otherRank);
      } else if (reduction != other.reduction) {
        difference = say("asks for the " + op(), rank, "asks for the " + other.op(), otherRank);
      } else if (root != other.root) {
        difference =
            say(
                "takes rank " + root + " for the root",
                rank,
                "takes rank " + other.root,
                otherRank);
      } else {
        difference = say("has " + elements + " elements", rank, "has " + other.elements, otherRank);
      }
      return difference + ", in " + name();
    }

    private static String say(String what, int rank, String otherWhat, int otherRank) {
      return "rank " + rank + " " + what + " where rank " + otherRank + " " + otherWhat;
    }

    private String op() {
      for (ReduceOp op : ReduceOp.values()) {
        if (op.code() == reduction) {
          return op.name().toLowerCase(Locale.ROOT);
        }
      }
      return "unknown";
    }
  }
}
