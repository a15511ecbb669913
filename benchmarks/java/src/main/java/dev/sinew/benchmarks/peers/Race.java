package dev.sinew.benchmarks.peers;

import dev.sinew.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Times the contestants of a problem in turn, so that what disturbs the machine disturbs all. */
final class Race {
  private static final double ROUND_SECONDS = 0.03;
  // What is so much slower than the fastest is timed once.
  private static final double HOPELESS = 25;

  private final List<Peer> peers;
  private final int rounds;

  Race(List<Peer> peers, int rounds) {
    this.peers = peers;
    this.rounds = rounds;
  }

  List<Outcome> run(Problem problem) throws Exception {
    try (Device device = Device.cpu(problem.threads());
        LayerData data = new LayerData(problem, device)) {
      List<Contestant> contestants = new ArrayList<>();
      try {
        for (Peer peer : peers) {
          peer.setThreads(problem.threads());
          contestants.addAll(peer.contestants(problem, data));
        }
        return time(problem, data, contestants);
      } finally {
        contestants.forEach(Contestant::close);
      }
    }
  }

  private List<Outcome> time(Problem problem, LayerData data, List<Contestant> contestants)
      throws Exception {
    int count = contestants.size();
    double[] errors = new double[count];
    double[] first = new double[count];
    String[] remarks = new String[count];
    double fastest = Double.MAX_VALUE;
    for (int i = 0; i < count; i++) {
      contestants.get(i).run(1);
      first[i] = seconds(contestants.get(i), 1, 0);
      fastest = Math.min(fastest, first[i]);
      errors[i] = data.error(contestants.get(i));
      remarks[i] = contestants.get(i).remark();
    }
    double[][] seconds = new double[count][rounds];
    double ceiling = Ceilings.measure(problem.threads()).of(problem);
    for (int round = 0; round < rounds; round++) {
      for (int i = 0; i < count; i++) {
        seconds[i][round] =
            first[i] > HOPELESS * fastest
                ? first[i]
                : seconds(contestants.get(i), contestants.get(i).copies(), ROUND_SECONDS);
      }
    }
    ceiling = Math.max(ceiling, Ceilings.measure(problem.threads()).of(problem));
    List<Outcome> outcomes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Contestant contestant = contestants.get(i);
      outcomes.add(
          new Outcome(
              problem.name(),
              problem.work().label,
              contestant.name() + remarks[i],
              contestant.ours(),
              problem.decode() ? contestant.bytes() : problem.operations(),
              problem.decode() ? "B/s" : "op/s",
              ceiling,
              errors[i],
              seconds[i]));
    }
    return outcomes;
  }

  // Of a call, on average over as many as take so long.
  private static double seconds(Contestant contestant, int count, double atLeast) throws Exception {
    long begin = System.nanoTime();
    double passed;
    int calls = 0;
    do {
      calls += contestant.run(count);
      passed = 1e-9 * (System.nanoTime() - begin);
    } while (passed < atLeast);
    return passed / calls;
  }

  /** One line about an outcome, beside the fastest peer. */
  static String line(Outcome outcome, Outcome best) {
    String ceiling =
        outcome.ceiling() == 0
            ? ""
            : String.format(
                Locale.ROOT, "%5.2f of the ceiling", outcome.rate() / outcome.ceiling());
    return String.format(
        Locale.ROOT,
        "  %-46s %10.1f us %13s %s%s  error %.2g of the bound%s",
        outcome.contestant(),
        outcome.median() * 1e6,
        outcome.rateText(),
        ceiling,
        outcome.ours() && best != null
            ? String.format(Locale.ROOT, "  %.2f x the best peer", outcome.speedAgainst(best))
            : "",
        outcome.error(),
        outcome.error() <= 1 ? "" : "  WRONG");
  }
}
