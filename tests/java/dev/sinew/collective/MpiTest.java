package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.ChildJvm;
import dev.sinew.Mpirun;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class MpiTest {
  @Test
  void twoJvmsGetTheValues() throws Exception {
    ChildJvm.Result result = Mpirun.twoRanks(List.of(), MpiRank.class, "values");
    String values = "of 2 [1.0, 2.0, -1.0, 3.0, 2.0, -1.0][2.0, 2.0, -1.0][254.0, -4.0, 0.0]";
    assertEquals("rank 0: " + values + "\nrank 1: " + values, said(result));
    assertEquals(0, result.exit(), result.output());
  }

  @Test
  void aRankThatDisagreesOrDiesIsNamed() throws Exception {
    ChildJvm.Result result = Mpirun.twoRanks(List.of("--enable-recovery"), MpiRank.class, "fail");
    assertEquals(
        """
        rank 0: rank 1 has 11 elements where rank 0 has 10, in all-reduce
        rank 0: rank 1 has not called barrier within 0.5 s, or hangs in it; rank 1
        rank 1: rank 0 has 10 elements where rank 1 has 11, in all-reduce""",
        said(result));
  }

  @Test
  void aLibraryThatIsNotThere() {
    System.setProperty("sinew.mpi", "/nowhere/libsinew_mpi.so");
    try {
      UnsupportedOperationException e =
          assertThrows(UnsupportedOperationException.class, Communicator::mpi);
      assertEquals(
          true, e.getMessage().startsWith("MPI cannot be used, as its library"), e.getMessage());
    } finally {
      System.clearProperty("sinew.mpi");
    }
  }

  /** What the ranks have said, in their order, without what mpirun says. */
  private static String said(ChildJvm.Result result) {
    String said =
        result
            .output()
            .lines()
            .filter(line -> line.startsWith("rank "))
            .sorted()
            .collect(Collectors.joining("\n"));
    return said.isEmpty() ? result.output() : said;
  }
}
