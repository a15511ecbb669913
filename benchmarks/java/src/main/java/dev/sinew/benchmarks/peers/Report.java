package dev.sinew.benchmarks.peers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** All outcomes as RESULTS.md. */
final class Report {
  private final Map<String, List<Outcome>> problems = new LinkedHashMap<>();

  Report(List<Outcome> outcomes) {
    for (Outcome outcome : outcomes) {
      problems.computeIfAbsent(outcome.problem(), key -> new ArrayList<>()).add(outcome);
    }
  }

  static Optional<Outcome> fastest(List<Outcome> outcomes, boolean ours) {
    return outcomes.stream()
        .filter(outcome -> outcome.ours() == ours && outcome.error() <= 1)
        .min(Comparator.comparingDouble(Outcome::median));
  }

  /** The problems with Sinew's fastest and the fastest peer that gave the right answer. */
  List<Duel> duels() {
    List<Duel> duels = new ArrayList<>();
    problems.forEach(
        (name, outcomes) -> {
          Optional<Outcome> ours = fastest(outcomes, true);
          Optional<Outcome> peer = fastest(outcomes, false);
          if (ours.isPresent() && peer.isPresent()) {
            duels.add(new Duel(name, ours.get(), peer.get()));
          }
        });
    return duels;
  }

  record Duel(String problem, Outcome ours, Outcome peer) {
    double ratio() {
      return ours.speedAgainst(peer);
    }
  }

  void write(Path file, Map<String, String> machine, String chart, String limits)
      throws IOException {
    StringBuilder text =
        new StringBuilder(
            """
            # Sinew beside other libraries

            Written by `benchmarks/peers`; the numbers of every round are in results/peers.tsv. Times are medians of rounds in
            which every contestant has its turn, ratios are medians of the rounds' ratios. Every answer was compared with
            float64; an answer beyond what its form of weights and activations allows is marked WRONG and does not count.

            """);
    machine.forEach(
        (label, value) -> text.append("- ").append(label).append(": ").append(value).append('\n'));
    text.append(
        """

        Each contestant has the same threads and, where they come from the system's allocator, the same huge pages. One row:
        weights are used in turn over more than 512 MiB, so they come from memory; GB/s are bytes of weights as each contestant
        stores them, the ceiling is reading as much with nothing computed. More rows: one set of weights; the ceiling is
        multiplying from registers, in the instructions of this tier. W8A8 is compared with products that quantize nothing
        (u8s8, MatMulInteger, gemm_s8u8s32) as well as with those that do the same work (DynamicQuantizeMatMul, fbgemm).

        """);
    text.append("![Sinew against the best peer](").append(chart).append(")\n");
    writeTargets(text, limits);
    writeTables(text);
    Files.writeString(file, text);
  }

  private void writeTargets(StringBuilder text, String limits) {
    text.append("\n## Targets\n\n| target | reached | |\n|---|---|---|\n");
    for (Target target : Target.all()) {
      double least = Double.NaN;
      double most = Double.NaN;
      for (Map.Entry<String, List<Outcome>> problem : problems.entrySet()) {
        Optional<Outcome> ours = fastest(problem.getValue(), true);
        if (!target.problems().test(problem.getKey()) || ours.isEmpty()) {
          continue;
        }
        List<Outcome> peers =
            problem.getValue().stream().filter(o -> !o.ours() && o.error() <= 1).toList();
        double ratio = target.measure().of(ours.get(), peers);
        least = Double.isNaN(least) ? ratio : Math.min(least, ratio);
        most = Double.isNaN(most) ? ratio : Math.max(most, ratio);
      }
      String verdict =
          Double.isNaN(least)
              ? "not measured"
              : least >= target.least()
                  ? "met"
                  : String.format(
                      Locale.ROOT, "missed by %.0f%%", 100 * (1 - least / target.least()));
      String reached =
          Double.isNaN(least) ? "" : String.format(Locale.ROOT, "%.2f to %.2f", least, most);
      text.append(
          String.format(Locale.ROOT, "| %s | %s | %s |%n", target.goal(), reached, verdict));
    }
    text.append('\n').append(limits.strip()).append('\n');
  }

  private void writeTables(StringBuilder text) {
    String group = "";
    for (Map.Entry<String, List<Outcome>> problem : problems.entrySet()) {
      List<Outcome> outcomes = problem.getValue();
      Outcome any = outcomes.get(0);
      if (!any.group().equals(group)) {
        group = any.group();
        text.append("\n## ").append(group).append("\n\n");
        text.append("| problem | Sinew | rate | of the ceiling | times the best peer | peers |\n");
        text.append("|---|---|---|---|---|---|\n");
      }
      Optional<Outcome> peer = fastest(outcomes, false);
      boolean first = true;
      for (Outcome ours : outcomes) {
        if (!ours.ours()) {
          continue;
        }
        text.append(
            String.format(
                Locale.ROOT,
                "| %s | %s %s | %s | %s | %s | %s |%n",
                first ? problem.getKey() : "",
                ours.contestant().replace("Sinew ", ""),
                time(ours),
                ours.rateText(),
                ours.ceiling() == 0
                    ? ""
                    : String.format(Locale.ROOT, "%.2f", ours.rate() / ours.ceiling()),
                peer.isEmpty()
                    ? ""
                    : String.format(Locale.ROOT, "%.2f", ours.speedAgainst(peer.get())),
                first ? peers(outcomes) : ""));
        first = false;
      }
    }
  }

  private static String peers(List<Outcome> outcomes) {
    StringBuilder text = new StringBuilder();
    outcomes.stream()
        .filter(outcome -> !outcome.ours())
        .sorted(Comparator.comparingDouble(Outcome::median))
        .forEach(
            outcome ->
                text.append(text.isEmpty() ? "" : ", ")
                    .append(outcome.contestant())
                    .append(' ')
                    .append(time(outcome)));
    return text.toString();
  }

  private static String time(Outcome outcome) {
    double micros = outcome.median() * 1e6;
    return String.format(
        Locale.ROOT,
        "%s%s",
        micros < 1000
            ? String.format(Locale.ROOT, "%.1f µs", micros)
            : String.format(Locale.ROOT, "%.2f ms", micros / 1000),
        outcome.error() <= 1 ? "" : " WRONG");
  }
}
