package dev.sinew.benchmarks.peers;

import dev.sinew.Device;
import dev.sinew.benchmarks.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/** Layers and networks beside other libraries; see benchmarks/peers. */
public final class PeerBenchmark {
  private static final int ROUNDS = 7;
  private static final int QUICK_ROUNDS = 3;

  private final List<Peer> peers = new ArrayList<>();
  private final List<Outcome> outcomes;
  private final Path folder;
  private final Path data;
  private final Pattern filter;
  private final int rounds;
  private final String heading;

  private PeerBenchmark(Path folder, Path data, String filter, boolean quick) throws IOException {
    this.folder = folder;
    this.data = data;
    this.filter = Pattern.compile(filter);
    this.rounds = quick ? QUICK_ROUNDS : ROUNDS;
    this.heading = Machine.cpu() + ", " + Device.isa();
    this.outcomes = Outcome.read(table(), heading);
    peers.add(new Sinew());
    peers.add(new LibtorchLayers());
    peers.add(new OpenBlas());
    peers.add(new OneDnn());
    peers.add(new OnnxRuntime());
    mkl().ifPresent(peers::add);
  }

  /** Only there in the Maven profile mkl. */
  private static Optional<Peer> mkl() {
    try {
      Class<?> type = Class.forName(PeerBenchmark.class.getPackageName() + ".Mkl");
      return Optional.of((Peer) type.getDeclaredConstructor().newInstance());
    } catch (ClassNotFoundException e) {
      return Optional.empty();
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Arguments: {@code FOLDER DATA [--quick] [--filter EXPRESSION]}; see benchmarks/peers. */
  public static void main(String[] args) throws Exception {
    boolean quick = false;
    String filter = "";
    for (int i = 2; i < args.length; i++) {
      if (args[i].equals("--quick")) {
        quick = true;
      } else if (args[i].equals("--filter") && i + 1 < args.length) {
        filter = args[++i];
      } else {
        System.err.println("'" + args[i] + "' is not an option, or lacks its value");
        System.exit(2);
      }
    }
    boolean right = new PeerBenchmark(Path.of(args[0]), Path.of(args[1]), filter, quick).run();
    // Threads of the libraries would keep the JVM from ending.
    System.exit(right ? 0 : 1);
  }

  private Path table() {
    return folder.resolve("results").resolve("peers.tsv");
  }

  private boolean run() throws Exception {
    Map<String, String> machine = Machine.describe();
    peers.forEach(peer -> machine.put(peer.name(), peer.version()));
    machine.forEach((label, value) -> System.out.println(label + ": " + value));
    int all = Device.availableProcessors();
    int[] threads = all == 1 ? new int[] {1} : new int[] {1, all};
    boolean right = true;
    for (Problem problem : Problem.all(threads)) {
      if (filter.matcher(problem.name()).find()) {
        System.out.println(problem.name());
        right &= add(problem.name(), new Race(peers, rounds).run(problem));
      }
    }
    for (Networks.Request request : Networks.all(threads)) {
      if (filter.matcher(request.name()).find()) {
        System.out.println(request.name());
        right &= add(request.name(), new Networks(data, rounds).run(request));
      }
    }
    write(machine);
    return right;
  }

  // Prints outcomes and puts them in the place of older ones.
  private boolean add(String name, List<Outcome> found) throws IOException {
    Outcome best = Report.fastest(found, false).orElse(null);
    found.forEach(outcome -> System.out.println(Race.line(outcome, best)));
    outcomes.removeIf(outcome -> outcome.problem().equals(name));
    outcomes.addAll(found);
    Files.createDirectories(table().getParent());
    Outcome.write(table(), heading, outcomes);
    return found.stream().allMatch(outcome -> !outcome.ours() || outcome.error() <= 1);
  }

  private void write(Map<String, String> machine) throws IOException {
    Report report = new Report(sorted());
    Chart.write(folder.resolve("results").resolve("peers.svg"), report.duels());
    Path limits = folder.resolve("results").resolve("limits-" + Device.isa() + ".md");
    report.write(
        folder.resolve("RESULTS.md"),
        machine,
        "results/peers.svg",
        Files.exists(limits) ? Files.readString(limits) : "");
    System.out.println(folder.resolve("RESULTS.md"));
  }

  // By table, then as the problems are listed, whatever order they were run in.
  private List<Outcome> sorted() {
    List<String> order = new ArrayList<>();
    int all = Device.availableProcessors();
    int[] threads = {1, all};
    for (Problem.Work work : Problem.Work.values()) {
      for (Problem problem : Problem.all(threads)) {
        if (problem.work() == work) {
          order.add(problem.name());
        }
      }
    }
    Networks.all(threads).forEach(request -> order.add(request.name()));
    List<Outcome> sorted = new ArrayList<>(outcomes);
    sorted.sort(Comparator.comparingInt(outcome -> order.indexOf(outcome.problem())));
    return sorted;
  }
}
