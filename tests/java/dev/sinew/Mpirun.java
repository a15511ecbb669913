package dev.sinew;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Starts JVMs as the ranks of MPI. */
public final class Mpirun {
  private Mpirun() {}

  /** Two ranks that run the program; without Open MPI the test is skipped. */
  public static ChildJvm.Result twoRanks(
      List<String> options, Class<?> program, String... arguments) throws Exception {
    String folder = "/dev/sinew/internal/linux-x86_64/";
    assumeTrue(
        Mpirun.class.getResource(folder + "libsinew_mpi.so") != null && isProgram("mpirun"),
        "Open MPI is not installed (Debian's openmpi-bin and libopenmpi-dev)");
    List<String> launcher = new ArrayList<>();
    // mpirun refuses root, and rewrites the arguments of a program called java.
    launcher.addAll(List.of("env", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"));
    launcher.addAll(List.of("mpirun", "--oversubscribe", "-n", "2"));
    launcher.addAll(options);
    launcher.add("env");
    return ChildJvm.runUnder(launcher, program, List.of(), arguments);
  }

  private static boolean isProgram(String name) {
    return Arrays.stream(System.getenv("PATH").split(":"))
        .anyMatch(folder -> new File(folder, name).canExecute());
  }
}
