package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.cli.Main;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Ranks over NCCL, whose place is taken by a library of the C++ tests, as the GPUs' is. JavaCPP's
 * binding is the real one: it loads the library under the names of NCCL, CUDA's and the driver's.
 */
class NcclStandInTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofMillis(300);

  private static final String ADVICE =
      "; it takes org.bytedeco:cuda of CUDA 13, without and with classifier linux-x86_64, and"
          + " libnccl.so.2, NVIDIA's or that of org.bytedeco:cuda-redist-nccl, classifier"
          + " linux-x86_64";

  @TempDir Path folder;
  private Path plugin;

  @BeforeEach
  void requireLibraries() throws IOException {
    plugin = Path.of(System.getProperty("sinew.test.cuda", ""));
    Path stub = plugin.resolveSibling("libsinew_nccl_stub.so");
    Assumptions.assumeTrue(Files.exists(plugin), "there is no " + plugin);
    Assumptions.assumeTrue(Files.exists(stub), "there is no " + stub);
    Path copy = Files.copy(stub, folder.resolve("libnccl.so.2"));
    // Links, so that the process has one such library and not three.
    Files.createSymbolicLink(folder.resolve("libcudart.so.13"), copy);
    Files.createSymbolicLink(folder.resolve("libcuda.so.1"), copy);
  }

  private void passes(Class<?> program, int calls, String... environmentAndOptions)
      throws Exception {
    List<String> launcher = new ArrayList<>(List.of("env", "LD_LIBRARY_PATH=" + folder));
    launcher.add("SINEW_NCCL_STUB_PLUGIN=" + plugin);
    List<String> options = new ArrayList<>(List.of("-Dsinew.cuda=" + plugin));
    for (String word : environmentAndOptions) {
      (word.startsWith("-") ? options : launcher).add(word);
    }
    ChildJvm.Result result = ChildJvm.runUnder(launcher, program, options);
    assertEquals(0, result.exit(), result.output());
    String left = "nccl stub: " + calls + " calls, 0 streams and 0 ranks left\n";
    assertTrue(result.output().endsWith(left), result.output());
  }

  /** Both ranks at once. */
  interface Rank {
    void run(Communicator communicator, Device gpu);
  }

  private static void run(List<Communicator> group, Rank rank) {
    List<CompletableFuture<Void>> ranks = new ArrayList<>();
    for (Communicator c : group) {
      ranks.add(onThread(() -> rank.run(c, Device.cuda(c.rank()))));
    }
    ranks.forEach(CompletableFuture::join);
  }

  private static CompletableFuture<Void> onThread(Runnable work) {
    return CompletableFuture.runAsync(work, task -> new Thread(task).start());
  }

  private static List<Communicator> gpus(Duration timeout) {
    return Communicator.gpus(List.of(Device.cuda(0), Device.cuda(1)), timeout, 4096);
  }

  /** The ranks that a launcher would start as processes. */
  private static List<Communicator> processes(Duration timeout) {
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
    Communicator[] group = new Communicator[2];
    List<CompletableFuture<Void>> starts = new ArrayList<>();
    for (int r = 0; r < 2; r++) {
      int rank = r;
      Map<String, String> environment =
          Map.of(
              "RANK",
              "" + rank,
              "LOCAL_RANK",
              "" + rank,
              "WORLD_SIZE",
              "2",
              "MASTER_ADDR",
              "127.0.0.1",
              "MASTER_PORT",
              "" + port);
      starts.add(onThread(() -> group[rank] = Communicator.nccl(environment, timeout)));
    }
    try {
      starts.forEach(CompletableFuture::join);
      return List.of(group);
    } catch (CompletionException e) {
      Arrays.stream(group).filter(Objects::nonNull).forEach(Communicator::close);
      throw e;
    }
  }

  private static float[] values(int n, int rank) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = (i * 7 + rank * 3) % 11 - rank;
    }
    return values;
  }

  private static Tensor onGpu(float[] values, Device gpu) {
    try (Tensor host = Tensor.of(values, values.length)) {
      return host.to(gpu);
    }
  }

  private static float[] part(float[] whole, int rank) {
    int n = whole.length / 2;
    return Arrays.copyOfRange(whole, rank * n, (rank + 1) * n);
  }

  // Seven calls.
  private static void everyOperation(Communicator c, Device gpu, int n) {
    float[] zero = values(n, 0);
    float[] one = values(n, 1);
    float[] sum = new float[n];
    try (Tensor x = onGpu(values(n, c.rank()), gpu);
        Tensor y = Tensor.allocate(gpu, DType.F32, n);
        Tensor half = Tensor.allocate(gpu, DType.F32, n / 2)) {
      for (ReduceOp op : ReduceOp.values()) {
        for (int i = 0; i < n; i++) {
          sum[i] =
              switch (op) {
                case SUM -> zero[i] + one[i];
                case AVERAGE -> (zero[i] + one[i]) / 2;
                case MIN -> Math.min(zero[i], one[i]);
                case MAX -> Math.max(zero[i], one[i]);
              };
        }
        c.allReduce(x, op, y);
        assertArrayEquals(sum, y.toFloats());
      }
      c.reduceScatter(x, ReduceOp.MAX, half); // as sum now is
      assertArrayEquals(part(sum, c.rank()), half.toFloats());
      c.allGather(half, y);
      assertArrayEquals(sum, y.toFloats());
      c.broadcast(x, 1);
      assertArrayEquals(one, x.toFloats());
    }
  }

  static final class Operations {
    public static void main(String[] arguments) {
      List<Communicator> group = gpus(LONG);
      // Those of 4096 bytes and more are NCCL's: the last two.
      for (int n : new int[] {2, 1020, 1024, 5000}) {
        run(group, (c, gpu) -> everyOperation(c, gpu, n));
      }
      run(group, (c, gpu) -> c.barrier());
      assertThrows(UnsupportedOperationException.class, () -> compressed(group.get(0)));
      run(group, (c, gpu) -> c.close());
      group.get(0).close();
      List<Communicator> processes = processes(LONG);
      run(processes, (c, gpu) -> everyOperation(c, gpu, 6));
      run(processes, (c, gpu) -> c.barrier());
      processes.forEach(Communicator::close);
    }

    private static void compressed(Communicator c) {
      try (Tensor x = onGpu(values(2000, 0), Device.cuda(0))) {
        c.allReduceCompressed(x, ReduceOp.SUM, x);
      }
    }
  }

  @Test
  void operations() throws Exception {
    passes(Operations.class, 14 + 8);
    passes(Operations.class, 14 + 8, "-Dsinew.nccl.check=true");
  }

  // Both ranks fail in the call, for the same reason, and in all that follow.
  private static List<String> failures(List<Communicator> group, Rank rank) {
    String[] messages = new String[2];
    run(
        group,
        (c, gpu) -> {
          RankFailedException e = assertThrows(RankFailedException.class, () -> rank.run(c, gpu));
          messages[c.rank()] = e.rank() + ": " + e.getMessage();
          for (int n : new int[] {4, 4000}) {
            RankFailedException again =
                assertThrows(RankFailedException.class, () -> allReduce(c, gpu, n));
            assertTrue(again.getMessage().contains("unusable since"), again.getMessage());
          }
        });
    group.forEach(Communicator::close);
    return List.of(messages);
  }

  private static void allReduce(Communicator c, Device gpu, int n) {
    try (Tensor x = onGpu(values(n, 0), gpu)) {
      c.allReduce(x, ReduceOp.SUM, x);
    }
  }

  private static void assertEither(List<String> messages, String one, String other) {
    for (String message : messages) {
      assertTrue(message.equals("1: " + one) || message.equals("0: " + other), message);
    }
  }

  static final class Disagreements {
    public static void main(String[] arguments) {
      assertEither(
          failures(gpus(LONG), (c, gpu) -> allReduce(c, gpu, 2000 + c.rank())),
          "rank 1 has 2001 elements where rank 0 has 2000, in all-reduce",
          "rank 0 has 2000 elements where rank 1 has 2001, in all-reduce");
      // One is NCCL's, the other not.
      assertEither(
          failures(gpus(LONG), (c, gpu) -> allReduce(c, gpu, c.rank() == 0 ? 4 : 2000)),
          "rank 1 has 2000 elements where rank 0 has 4, in all-reduce",
          "rank 0 has 4 elements where rank 1 has 2000, in all-reduce");
      List<Communicator> late = gpus(SHORT);
      RankFailedException e =
          assertThrows(
              RankFailedException.class, () -> allReduce(late.get(0), Device.cuda(0), 2000));
      assertEquals("rank 1 has not called all-reduce within 0.3 s, or hangs in it", e.getMessage());
      assertEquals(1, e.rank());
      late.forEach(Communicator::close);
      List<Communicator> left = gpus(LONG);
      left.get(1).close();
      e =
          assertThrows(
              RankFailedException.class, () -> allReduce(left.get(0), Device.cuda(0), 2000));
      assertEquals(
          "rank 1 has closed its communicator, before all-reduce was complete", e.getMessage());
      left.get(0).close();
      wrongArguments(gpus(LONG));
      refused();
    }

    // What a rank can see alone is no call.
    private static void wrongArguments(List<Communicator> group) {
      run(
          group,
          (c, gpu) -> {
            try (Tensor x = onGpu(values(2000, 0), gpu);
                Tensor y = onGpu(values(2001, 0), gpu)) {
              assertThrows(IllegalArgumentException.class, () -> c.allReduce(x, ReduceOp.SUM, y));
            }
            everyOperation(c, gpu, 2000);
          });
      group.forEach(Communicator::close);
    }

    private static void refused() {
      UnsupportedOperationException e =
          assertThrows(
              UnsupportedOperationException.class,
              () -> Communicator.gpus(List.of(Device.cuda(0), Device.cuda(0)), LONG, 0));
      assertTrue(e.getMessage().startsWith("NCCL has one rank on a GPU"), e.getMessage());
      assertThrows(
          IllegalArgumentException.class,
          () -> Communicator.gpus(List.of(Device.cuda(0)), LONG, -1));
    }
  }

  @Test
  void ranksOfOneHostThatDisagreeAreNamed() throws Exception {
    passes(Disagreements.class, 7);
  }

  static final class DisagreeingProcesses {
    public static void main(String[] arguments) {
      Rank rank = (c, gpu) -> allReduce(c, gpu, 8 + c.rank());
      if (Boolean.getBoolean("sinew.nccl.check")) {
        String difference = "1: rank 1 has 9 elements where rank 0 has 8, in all-reduce";
        assertEquals(List.of(difference, difference), failures(processes(LONG), rank));
        return;
      }
      for (String message : failures(processes(SHORT), rank)) {
        assertEquals(
            "-1: all-reduce was not complete within 0.3 s: a rank has failed, hangs or asks for"
                + " something else; -Dsinew.nccl.check=true on rank 0 says which",
            message);
      }
    }
  }

  @Test
  void processesThatDisagreeAreNamedIfAskedFor() throws Exception {
    passes(DisagreeingProcesses.class, 0);
    passes(DisagreeingProcesses.class, 0, "-Dsinew.nccl.check=true");
  }

  static final class FailingStart {
    public static void main(String[] arguments) {
      IllegalStateException e = assertThrows(IllegalStateException.class, () -> gpus(LONG));
      assertEquals("NCCL cannot use the GPU: out of memory", e.getMessage());
      CompletionException ended =
          assertThrows(
              CompletionException.class, () -> processes(LONG).forEach(Communicator::close));
      assertEquals("NCCL cannot use the GPU: out of memory", ended.getCause().getMessage());
      run(
          Communicator.gpus(List.of(Device.cuda(0), Device.cuda(1)), LONG),
          (c, gpu) -> {
            try (c) {
              everyOperation(c, gpu, 2000);
            }
          });
    }
  }

  @Test
  void aStartThatFailsHalfWayLeavesNothing() throws Exception {
    passes(FailingStart.class, 0, "SINEW_NCCL_STUB_FAILS=stream");
  }

  // What the doctor says, here with the libraries in the folder.
  private String doctor(String... options) throws Exception {
    List<String> all = new ArrayList<>(List.of(options));
    all.add("-Dsinew.cuda=" + plugin);
    List<String> launcher = List.of("env", "LD_LIBRARY_PATH=" + folder);
    return collectives(ChildJvm.runUnder(launcher, Main.class, all, "doctor"));
  }

  private static String collectives(ChildJvm.Result result) {
    assertEquals(0, result.exit(), result.output());
    String title = "GPU collectives  ";
    return result
        .output()
        .lines()
        .filter(line -> line.startsWith(title))
        .map(line -> line.substring(title.length()))
        .collect(Collectors.joining("\n"));
  }

  @Test
  void theDoctorSaysWhereItIsOrWhatToAdd() throws Exception {
    assertEquals("NCCL 2.30.4, " + folder.resolve("libnccl.so.2"), doctor());
    // A jar with it would be extracted, so nothing is loaded. The boot loader stands for the class
    // path, as in GpuLibraryTest.
    Path jar = folder.resolve("nccl redist.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      out.putNextEntry(new JarEntry("org/bytedeco/cuda/linux-x86_64/libnccl.so.2"));
    }
    assertEquals(
        "NCCL, which the first communicator over it will extract from " + jar,
        doctor("-Xbootclasspath/a:" + jar));
    // The driver is there, NCCL not.
    Files.move(folder.resolve("libnccl.so.2"), folder.resolve("other"));
    for (String name : List.of("libcuda.so.1", "libcudart.so.13")) {
      Files.delete(folder.resolve(name));
      Files.createSymbolicLink(folder.resolve(name), folder.resolve("other"));
    }
    String missing = "Sinew, on one host only, as NCCL cannot be used: ";
    assertEquals(
        missing
            + "libnccl.so.2: cannot open shared object file: No such file or directory"
            + ADVICE,
        doctor());
    String option = "-Dsinew.cuda=" + plugin;
    assertEquals(
        missing + "JavaCPP's preset of CUDA is not on the class path" + ADVICE,
        collectives(ChildJvm.runWithout("/cuda-", Main.class, List.of(option), "doctor")));
  }
}
