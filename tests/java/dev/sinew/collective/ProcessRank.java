package dev.sinew.collective;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.time.Duration;

/** Rank 1 of two, in a JVM of its own: name, what to do. */
public final class ProcessRank {
  private ProcessRank() {}

  public static void main(String[] arguments) {
    try (Communicator c = Communicator.processes(arguments[0], 1, 2, Duration.ofSeconds(20));
        Tensor x = Tensor.of(new float[] {3, 4, 5}, 3);
        Tensor large = Tensor.allocate(Device.cpu(), DType.BF16, 1_000_003)) {
      c.allReduce(x, ReduceOp.SUM, x);
      c.allReduce(large, ReduceOp.MAX, large);
      System.out.println(x.toFloats()[0] + " " + x.toFloats()[2]);
      if (arguments[1].equals("halt")) {
        Runtime.getRuntime().halt(7);
      }
      c.barrier();
    }
  }
}
