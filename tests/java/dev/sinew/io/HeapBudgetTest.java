package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.model.CheckpointException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class HeapBudgetTest {
  private static final Path FILE = Path.of("model.pt");
  private static final long MIB = 1 << 20;

  @Test
  void growsWithTheFileUpToHalfTheHeap() {
    assertEquals(32 * MIB, HeapBudget.of(FILE, 0, 1024 * MIB).limit());
    assertEquals(32 * MIB + 128 * 1000, HeapBudget.of(FILE, 1000, 1024 * MIB).limit());
    assertEquals(512 * MIB, HeapBudget.of(FILE, 4 * MIB, 1024 * MIB).limit());
    assertEquals(512 * MIB, HeapBudget.of(FILE, Long.MAX_VALUE, 1024 * MIB).limit());
    assertEquals(12 * MIB, HeapBudget.of(FILE, 0, 24 * MIB).limit());
    assertEquals(Long.MAX_VALUE / 2, HeapBudget.of(FILE, 1L << 60, Long.MAX_VALUE).limit());
  }

  @Test
  void chargesAddUpToExactlyTheLimit() throws CheckpointException {
    HeapBudget budget = HeapBudget.of(FILE, 0, 24 * MIB);
    budget.charge(11 * MIB);
    budget.charge(MIB);
    CheckpointException e = assertThrows(CheckpointException.class, () -> budget.charge(1));
    assertEquals(
        "cannot read 'model.pt': its structure needs more than 12 MiB of the Java heap, half of all"
            + " there is; if you trust the file, allow more with -Xmx (for the command line:"
            + " SINEW_JAVA_OPTS=-Xmx4g)",
        e.getMessage());
    assertThrows(CheckpointException.class, () -> budget.charge(Long.MAX_VALUE));
  }

  @Test
  void aSmallFileThatWantsMuchIsNotToldToRaiseTheHeap() {
    CheckpointException e =
        assertThrows(
            CheckpointException.class, () -> HeapBudget.of(FILE, 0, 1024 * MIB).charge(33 * MIB));
    assertEquals(
        "cannot read 'model.pt': its structure needs more than 32 MiB of the Java heap, as no"
            + " checkpoint of its size does; save its tensors again",
        e.getMessage());
  }
}
