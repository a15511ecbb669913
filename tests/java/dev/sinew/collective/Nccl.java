package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.Device;
import dev.sinew.Tensor;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** What tests of other packages ask of NCCL. */
public final class Nccl {
  private static final Duration TIMEOUT = Duration.ofSeconds(20);

  private Nccl() {}

  /** A sentence, where there is a GPU but no NCCL; otherwise one rank alone reduces. */
  public static void isUsedOrMissing() {
    Map<String, String> alone =
        Map.of("RANK", "0", "WORLD_SIZE", "1", "MASTER_ADDR", "127.0.0.1", "MASTER_PORT", "29511");
    reducesOrSaysWhatIsMissing(() -> List.of(Communicator.nccl(alone, TIMEOUT)));
    reducesOrSaysWhatIsMissing(() -> Communicator.gpus(List.of(Device.cuda(0)), TIMEOUT, 0));
  }

  private static void reducesOrSaysWhatIsMissing(Supplier<List<Communicator>> start) {
    List<Communicator> group;
    try {
      group = start.get();
    } catch (UnsupportedOperationException e) {
      assertTrue(e.getMessage().startsWith("NCCL cannot be used: "), e.getMessage());
      assertTrue(e.getMessage().contains("org.bytedeco:cuda-redist-nccl"), e.getMessage());
      return;
    }
    try (Communicator c = group.get(0);
        Tensor host = Tensor.of(new float[] {1, 2}, 2);
        Tensor x = host.to(Device.cuda(0))) {
      c.allReduce(x, ReduceOp.SUM, x);
      assertArrayEquals(new float[] {1, 2}, x.toFloats());
    }
  }
}
