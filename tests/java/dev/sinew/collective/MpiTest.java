package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.ChildJvm;
import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class MpiTest {
  @Test
  void twoJvmsGetTheValues() throws Exception {
    ChildJvm.Result result = twoRanks("values");
    String values = "of 2 [1.0, 2.0, -1.0, 3.0, 2.0, -1.0][2.0, 2.0, -1.0][254.0, -4.0, 0.0]";
    assertEquals("rank 0: " + values + "\nrank 1: " + values, said(result));
    assertEquals(0, result.exit(), result.output());
  }

  @Test
  void aRankThatDisagreesOrDiesIsNamed() throws Exception {
    ChildJvm.Result result = twoRanks("fail", "--enable-recovery");
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

  private static ChildJvm.Result twoRanks(String task, String... options) throws Exception {
    String folder = "/dev/sinew/internal/linux-x86_64/";
    assumeTrue(
        MpiTest.class.getResource(folder + "libsinew_mpi.so") != null && isProgram("mpirun"),
        "Open MPI is not installed (Debian's openmpi-bin and libopenmpi-dev)");
    List<String> launcher = new ArrayList<>();
    // mpirun refuses root, and rewrites the arguments of a program called java.
    launcher.addAll(List.of("env", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"));
    launcher.addAll(List.of("mpirun", "--oversubscribe", "-n", "2"));
    launcher.addAll(Arrays.asList(options));
    launcher.add("env");
    return ChildJvm.runUnder(launcher, MpiRank.class, List.of(), task);
  }

  private static boolean isProgram(String name) {
    return Arrays.stream(System.getenv("PATH").split(":"))
        .anyMatch(folder -> new File(folder, name).canExecute());
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
