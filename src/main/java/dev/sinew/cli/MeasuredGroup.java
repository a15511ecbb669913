package dev.sinew.cli;

import dev.sinew.Device;
import dev.sinew.collective.Communicator;
import dev.sinew.internal.RankThreads;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/** The ranks of a group, some on threads of this JVM and the others in JVMs of their own. */
final class MeasuredGroup implements AutoCloseable {
  private final List<MeasuredRank> here = new ArrayList<>();
  private final List<Process> elsewhere = new ArrayList<>();
  private final RankThreads threads = new RankThreads();

  private MeasuredGroup() {}

  static MeasuredGroup threads(int ranks) {
    MeasuredGroup group = new MeasuredGroup();
    for (Communicator c : Communicator.threads(ranks, MeasuredRank.TIMEOUT)) {
      group.here.add(new MeasuredRank(c, Device.cpu()));
    }
    return group;
  }

  /**
   * Rank r has its tensors on GPU r of these.
   *
   * @param ncclFrom from how many bytes on they are reduced by way of NCCL; null for never
   */
  static MeasuredGroup gpus(List<Device> devices, Long ncclFrom) {
    MeasuredGroup group = new MeasuredGroup();
    for (Communicator c :
        ncclFrom == null
            ? Communicator.gpus(devices, MeasuredRank.TIMEOUT)
            : Communicator.gpus(devices, MeasuredRank.TIMEOUT, ncclFrom)) {
      group.here.add(new MeasuredRank(c, devices.get(c.rank())));
    }
    return group;
  }

  /** Rank 0 is this process. */
  static MeasuredGroup processes(int ranks) throws IOException {
    MeasuredGroup group = new MeasuredGroup();
    String name = "bench-" + UUID.randomUUID();
    try {
      for (int r = 1; r < ranks; r++) {
        ProcessBuilder builder = new ProcessBuilder(command(name, r, ranks));
        builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
        group.elsewhere.add(builder.redirectError(ProcessBuilder.Redirect.INHERIT).start());
      }
      Communicator first = Communicator.processes(name, 0, ranks, MeasuredRank.TIMEOUT);
      group.here.add(new MeasuredRank(first, Device.cpu()));
      return group;
    } catch (IOException | RuntimeException e) {
      group.close();
      throw e;
    }
  }

  /** Ranks that mpirun has started, all of which run the same command; one of them is here. */
  static MeasuredGroup mpi() {
    MeasuredGroup group = new MeasuredGroup();
    group.here.add(new MeasuredRank(Communicator.mpi(MeasuredRank.TIMEOUT), Device.cpu()));
    return group;
  }

  /** Ranks with a GPU each that a launcher such as torchrun has started; one of them is here. */
  static MeasuredGroup nccl() {
    MeasuredGroup group = new MeasuredGroup();
    Communicator communicator = Communicator.nccl(MeasuredRank.TIMEOUT);
    Device gpu = Device.cuda(Integer.parseInt(System.getenv().getOrDefault("LOCAL_RANK", "0")));
    group.here.add(new MeasuredRank(communicator, gpu));
    return group;
  }

  /** Of the first rank here. */
  int rank() {
    return here.get(0).rank();
  }

  int size() {
    return here.get(0).size();
  }

  /** As this JVM was started, but with another program. */
  private static List<String> command(String name, int rank, int ranks) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    for (String option : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
      if (!option.startsWith("-agent") && !option.startsWith("-javaagent")) {
        command.add(option);
      }
    }
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(MeasuredRank.class.getName(), name, "" + rank, "" + ranks));
    return command;
  }

  /** What {@link MeasuredRank#perform} gives on all ranks. */
  double ask(MeasuredRank.Request request, int count) throws Exception {
    byte[] line = (request + " " + count + "\n").getBytes(StandardCharsets.US_ASCII);
    for (Process process : elsewhere) {
      OutputStream requests = process.getOutputStream();
      requests.write(line);
      requests.flush();
    }
    return threads.largest(here.size(), r -> here.get(r).perform(request, count));
  }

  @Override
  public void close() {
    threads.close();
    here.forEach(MeasuredRank::close);
    for (Process process : elsewhere) {
      try {
        process.getOutputStream().close();
      } catch (IOException e) {
        // It has ended already.
      }
    }
  }
}
