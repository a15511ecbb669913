package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Map;

/** What tests of other packages ask of NCCL. */
public final class Nccl {
  private Nccl() {}

  /** A sentence, where there is a GPU but no NCCL; otherwise one rank alone reduces. */
  public static void isUsedOrMissing() {
    Map<String, String> alone =
        Map.of("RANK", "0", "WORLD_SIZE", "1", "MASTER_ADDR", "127.0.0.1", "MASTER_PORT", "29511");
    if (Nccl.class.getResource("/org/bytedeco/cuda/linux-x86_64/libjninccl.so") != null) {
      try (Communicator c = Communicator.nccl(alone, Duration.ofSeconds(20))) {
        c.barrier();
      }
      return;
    }
    UnsupportedOperationException e =
        assertThrows(
            UnsupportedOperationException.class,
            () -> Communicator.nccl(alone, Duration.ofSeconds(1)));
    assertTrue(e.getMessage().startsWith("NCCL cannot be used, as JavaCPP's"), e.getMessage());
  }
}
