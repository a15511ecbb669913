package dev.sinew.benchmarks.peers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * What one contestant took for one problem.
 *
 * @param problem its name
 * @param group problems that make a table together
 * @param ours whether it is Sinew's
 * @param work operations or bytes of a call, by {@code unit}
 * @param unit "op/s", "B/s" or "images/s"
 * @param ceiling what the machine reaches in that unit, measured in the same run; 0 if there is
 *     none
 * @param error as a part of what is allowed
 * @param seconds of a call in each round
 */
record Outcome(
    String problem,
    String group,
    String contestant,
    boolean ours,
    double work,
    String unit,
    double ceiling,
    double error,
    double[] seconds) {

  double median() {
    return median(seconds);
  }

  double rate() {
    return work / median();
  }

  String rateText() {
    return switch (unit) {
      case "B/s" -> String.format(Locale.ROOT, "%.1f GB/s", rate() / 1e9);
      case "op/s" -> String.format(Locale.ROOT, "%.0f Gop/s", rate() / 1e9);
      default -> String.format(Locale.ROOT, "%.0f %s", rate(), unit);
    };
  }

  /** How many times as fast as the other one this is: the median over the rounds. */
  double speedAgainst(Outcome other) {
    int rounds = Math.min(seconds.length, other.seconds.length);
    double[] ratios = new double[rounds];
    for (int i = 0; i < rounds; i++) {
      ratios[i] = other.seconds[i] / seconds[i];
    }
    return median(ratios);
  }

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  private String line() {
    String rounds =
        Arrays.stream(seconds)
            .mapToObj(s -> String.format(Locale.ROOT, "%.4g", s))
            .collect(Collectors.joining(","));
    return String.format(
        Locale.ROOT,
        "%s\t%s\t%s\t%b\t%.6g\t%s\t%.4g\t%.3g\t%s",
        problem,
        group,
        contestant,
        ours,
        work,
        unit,
        ceiling,
        error,
        rounds);
  }

  private static Outcome parse(String line) {
    String[] f = line.split("\t");
    return new Outcome(
        f[0],
        f[1],
        f[2],
        Boolean.parseBoolean(f[3]),
        Double.parseDouble(f[4]),
        f[5],
        Double.parseDouble(f[6]),
        Double.parseDouble(f[7]),
        Arrays.stream(f[8].split(",")).mapToDouble(Double::parseDouble).toArray());
  }

  /** What a file holds of runs under this heading; nothing if it is another machine's. */
  static List<Outcome> read(Path file, String heading) throws IOException {
    if (!Files.exists(file)) {
      return new ArrayList<>();
    }
    List<String> lines = Files.readAllLines(file);
    if (!lines.get(0).equals("# " + heading)) {
      System.out.println(file + " has results of another machine, which are dropped");
      return new ArrayList<>();
    }
    return lines.stream()
        .filter(line -> !line.startsWith("#"))
        .map(Outcome::parse)
        .collect(Collectors.toCollection(ArrayList::new));
  }

  static void write(Path file, String heading, List<Outcome> outcomes) throws IOException {
    List<String> lines = new ArrayList<>();
    lines.add("# " + heading);
    lines.add(
        "# problem, table, contestant, ours, work, unit, ceiling, error, seconds of each round");
    outcomes.forEach(outcome -> lines.add(outcome.line()));
    Files.write(file, lines);
  }
}
