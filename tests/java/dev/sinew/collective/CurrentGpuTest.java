package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class CurrentGpuTest {
  private int now = 3;
  private final CurrentGpu current = new CurrentGpu(() -> now, gpu -> now = gpu);

  @Test
  void theCallersGpuComesBack() {
    current.during(1, () -> assertEquals(1, now));
    assertEquals(3, now);
    IllegalStateException thrown = new IllegalStateException("failed");
    IllegalStateException e =
        assertThrows(
            IllegalStateException.class,
            () ->
                current.during(
                    1,
                    () -> {
                      throw thrown;
                    }));
    assertEquals(thrown, e);
    assertEquals(3, now);
  }
}
