package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.Mpirun;
import dev.sinew.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class BenchAllReduceCommandTest extends CommandLineTest {
  @Test
  void sizesAreMeasuredAndChecked() {
    for (int ranks : new int[] {1, 2}) {
      String bytes = ranks == 1 ? "4" : "4,100004";
      Map<String, Object> json =
          run("bench", "allreduce", "--ranks", "" + ranks, "--sizes", bytes, "--json").ok().json();
      assertEquals("[sinew_version, isa, ranks, rounds, results]", json.keySet().toString());
      assertEquals((long) ranks, json.get("ranks"));
      List<Map<String, Object>> sizes = JsonText.list(json, "results");
      assertEquals(
          "threads false, processes false, threads true, processes true",
          sizes.stream()
              .limit(4)
              .map(size -> size.get("transport") + " " + size.get("compressed"))
              .collect(Collectors.joining(", ")));
      assertEquals(ranks * 4, sizes.size());
      for (Map<String, Object> size : sizes) {
        assertEquals(
            "[bytes, transport, compressed, seconds, algbw_gb_per_second, busbw_gb_per_second, wrong, loop_seconds, ratio]",
            size.keySet().toString());
        assertEquals(0L, size.get("wrong"));
        double rate = (Long) size.get("bytes") / (Double) size.get("seconds") / 1e9;
        assertEquals(rate, (Double) size.get("algbw_gb_per_second"), 1e-6 * rate);
        assertEquals(
            rate * 2 * (ranks - 1) / ranks, (Double) size.get("busbw_gb_per_second"), 1e-6 * rate);
      }
    }
    String table = run("bench", "allreduce", "--ranks", "3", "--sizes", "64").ok().out();
    assertEquals(6, table.lines().count(), table);
  }

  @Test
  void ranksOfMpi() throws Exception {
    ChildJvm.Result result =
        Mpirun.twoRanks(List.of(), Main.class, "bench", "allreduce", "--mpi", "--sizes", "100004");
    assertEquals(0, result.exit(), result.output());
    // One of the two has printed: a heading of two lines, and a line for each way.
    List<String> lines = result.output().lines().filter(line -> !line.isBlank()).toList();
    assertEquals(4, lines.size(), result.output());
    assertEquals(
        "100004 MPI 0, 100004 MPI, compressed 0",
        lines.stream()
            .skip(2)
            .map(line -> line.trim().split(" {2,}"))
            .map(row -> row[0] + " " + row[1] + " " + row[5])
            .collect(Collectors.joining(", ")));
  }

  /** In a JVM of its own, as a library of GPUs that was loaded stays. */
  private static ChildJvm.Result onGpus(String library, String gpus, String... more)
      throws Exception {
    List<String> words = new ArrayList<>(List.of("bench", "allreduce", "--sizes", "100004"));
    words.addAll(List.of("--gpus", gpus));
    words.addAll(List.of(more));
    return ChildJvm.run(
        Main.class, List.of("-Dsinew.cuda=" + library), words.toArray(String[]::new));
  }

  @Test
  void ranksOnGpus() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result = onGpus(library, "0,0");
    assertEquals(0, result.exit(), result.output());
    List<String[]> rows =
        result.output().lines().skip(2).map(line -> line.trim().split(" {2,}")).toList();
    assertEquals(1, rows.size(), result.output());
    assertEquals("100004 GPUs 0", rows.get(0)[0] + " " + rows.get(0)[1] + " " + rows.get(0)[5]);
  }

  @Test
  void severalRanksOnAGpuHaveNoNccl() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result = onGpus(library, "0,0", "--nccl-from", "0");
    assertEquals(1, result.exit(), result.output());
    assertTrue(
        result.output().startsWith("sinew: NCCL has one rank on a GPU, and several are on one"),
        result.output());
  }

  @Test
  void gpusThatAreNotThere() throws Exception {
    ChildJvm.Result result = onGpus("none", "0");
    assertEquals(1, result.exit(), result.output());
    assertEquals("sinew: no GPU can be used, as sinew.cuda is none", result.output().strip());
    run("bench", "allreduce", "--nccl").failed(1, "the environment variable WORLD_SIZE is not set");
  }

  @Test
  void wrongUsage() {
    run("bench", "allreduce", "--mpi", "--ranks", "2").failed(2, "only one of --ranks, --mpi");
    run("bench", "allreduce", "--nccl", "--gpus", "0").failed(2, "only one of --ranks, --mpi");
    run("bench", "allreduce", "--gpus", "x").failed(2, "--gpus: 'x'");
    run("bench", "allreduce", "--nccl-from", "4").failed(2, "and goes with --gpus");
    run("bench", "allreduce", "--gpus", "0", "--nccl-from", "-1").failed(2, "a number of bytes");
    run("bench", "allreduce", "--ranks", "0").failed(2, "--ranks takes a number from 1 to 128");
    run("bench", "allreduce", "--sizes", "6").failed(2, "--sizes takes multiples of 4");
    run("bench", "allreduce", "--ranks", "128", "--sizes", "1073741824")
        .failed(1, "give smaller --sizes");
  }

  @Test
  void wrongElementsAreCounted() {
    try (Tensor x = Tensor.of(new float[] {1, 2, 3, 2, Float.NaN}, 5)) {
      assertEquals(2, MeasuredRank.countWrong(x, new float[] {1, 2}, 0));
      assertEquals(1, MeasuredRank.countWrong(x, new float[] {1, 2}, 2));
    }
  }
}
