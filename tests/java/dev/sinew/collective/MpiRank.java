package dev.sinew.collective;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.time.Duration;
import java.util.Arrays;

/** One of two ranks that mpirun starts, each in a JVM of its own: what to do. */
public final class MpiRank {
  private MpiRank() {}

  public static void main(String[] arguments) {
    if (arguments[0].equals("values")) {
      values();
    } else {
      disagree();
      die();
    }
  }

  // One write, so that lines of two ranks do not mix.
  private static void say(int rank, String what) {
    System.out.print("rank " + rank + ": " + what + "\n");
    System.out.flush();
  }

  private static void values() {
    try (Communicator c = Communicator.mpi();
        Tensor x = Tensor.of(new float[] {1 + 2 * c.rank(), 2, -1}, 3);
        Tensor all = Tensor.allocate(Device.cpu(), DType.F32, 6);
        Tensor large = Tensor.allocate(Device.cpu(), DType.BF16, 1_000_003);
        Tensor compressed = Tensor.of(new float[] {127, -2, 0}, 3)) {
      c.allGather(x, all);
      c.allReduce(x, ReduceOp.AVERAGE, x);
      c.allReduce(large, ReduceOp.MAX, large);
      c.allReduceCompressed(compressed, ReduceOp.SUM, compressed);
      c.broadcast(all, 1);
      say(c.rank(), "of " + c.size() + " " + text(all) + text(x) + text(compressed));
    }
  }

  private static String text(Tensor tensor) {
    return Arrays.toString(tensor.toFloats());
  }

  private static void disagree() {
    try (Communicator c = Communicator.mpi();
        Tensor x = Tensor.allocate(Device.cpu(), DType.F32, 10 + c.rank())) {
      c.allReduce(x, ReduceOp.SUM, x);
      say(c.rank(), "no error");
    } catch (RankFailedException e) {
      say(1 - e.rank(), e.getMessage());
    }
  }

  private static void die() {
    try (Communicator c = Communicator.mpi(Duration.ofMillis(500))) {
      if (c.rank() == 1) {
        Runtime.getRuntime().halt(7);
      }
      try {
        c.barrier();
        say(0, "no error");
      } catch (RankFailedException e) {
        say(0, e.getMessage() + "; rank " + e.rank());
      }
    }
  }
}
