package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ProcessesTest {
  private interface Rank0 {
    void run(Communicator communicator) throws Exception;
  }

  /** This JVM is rank 0, a child rank 1; both have done the same two all-reduces before. */
  private static void withChild(String task, int exit, Rank0 rest) throws Exception {
    String name = UUID.randomUUID().toString();
    ExecutorService pool = Executors.newSingleThreadExecutor();
    try {
      Callable<ChildJvm.Result> run = () -> ChildJvm.run(ProcessRank.class, List.of(), name, task);
      Future<ChildJvm.Result> child = pool.submit(run);
      try (Communicator c = Communicator.processes(name, 0, 2);
          Tensor x = Tensor.of(new float[] {1, 2, -1}, 3);
          Tensor large = Tensor.allocate(Device.cpu(), DType.BF16, 1_000_003)) {
        assertEquals("rank 0 of 2", c.toString());
        c.allReduce(x, ReduceOp.SUM, x);
        c.allReduce(large, ReduceOp.MAX, large);
        assertEquals(4, x.toFloats()[0]);
        assertEquals(4, x.toFloats()[2]);
        rest.run(c);
      }
      ChildJvm.Result result = child.get(50, TimeUnit.SECONDS);
      assertEquals("4.0 4.0", result.output().strip());
      assertEquals(exit, result.exit());
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void reducesWithAnotherJvm() throws Exception {
    withChild("end", 0, Communicator::barrier);
  }

  @Test
  void aProcessThatEndsIsNamed() throws Exception {
    withChild(
        "halt",
        7,
        c -> {
          RankFailedException e = assertThrows(RankFailedException.class, c::barrier);
          assertEquals(
              "the process of rank 1 has ended, before barrier was complete", e.getMessage());
          assertEquals(1, e.rank());
        });
  }

  @Test
  void aMissingRankIsNamed() {
    String name = UUID.randomUUID().toString();
    RankFailedException e =
        assertThrows(
            RankFailedException.class,
            () -> Communicator.processes(name, 0, 2, Duration.ofMillis(100)));
    assertEquals(
        "rank 1 has not joined the group '" + name + "' within 0.1 s (1 of 2 ranks have)",
        e.getMessage());
  }

  @Test
  void arguments() {
    assertThrows(IllegalArgumentException.class, () -> Communicator.processes("", 0, 1));
    assertThrows(IllegalArgumentException.class, () -> Communicator.processes("a\0b", 0, 1));
    assertThrows(
        IllegalArgumentException.class, () -> Communicator.processes("n".repeat(81), 0, 1));
    assertThrows(IllegalArgumentException.class, () -> Communicator.processes("n", 1, 1));
    assertThrows(IllegalArgumentException.class, () -> Communicator.processes("n", 0, 129));
    assertThrows(NullPointerException.class, () -> Communicator.processes(null, 0, 1));
    try (Communicator c = Communicator.processes(UUID.randomUUID().toString(), 0, 1)) {
      c.barrier();
    }
  }
}
