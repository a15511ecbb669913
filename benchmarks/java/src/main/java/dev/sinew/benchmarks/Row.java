package dev.sinew.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;

/**
 * One benchmark whose iterations are rounds.
 *
 * @param rounds nanoseconds of every round under the names of the fields of {@link Times}; only
 *     contestants that took part
 */
record Row(String name, int threads, int mebibytes, long bytes, Map<String, double[]> rounds) {
  static final List<String> CONTESTANTS = List.of("probe", "sinew", "libtorch", "javaLoop");

  static Row of(RunResult result, String name, int threads, int mebibytes) {
    List<IterationResult> iterations = new ArrayList<>();
    for (BenchmarkResult benchmark : result.getBenchmarkResults()) {
      iterations.addAll(benchmark.getIterationResults());
    }
    Map<String, double[]> rounds = new LinkedHashMap<>();
    for (String contestant : CONTESTANTS) {
      double[] times = field(iterations, contestant);
      if (times[0] > 0) {
        rounds.put(contestant, times);
      }
    }
    return new Row(name, threads, mebibytes, (long) field(iterations, "bytes")[0], rounds);
  }

  private static double[] field(List<IterationResult> iterations, String name) {
    return iterations.stream()
        .mapToDouble(iteration -> iteration.getSecondaryResults().get(name).getScore())
        .toArray();
  }

  boolean has(String contestant) {
    return rounds.containsKey(contestant);
  }

  /** Median time in nanoseconds. */
  double nanoseconds(String contestant) {
    return median(rounds.get(contestant));
  }

  /** The bytes that Sinew moves, for each second of the contestant. */
  double bytesPerSecond(String contestant) {
    return bytes / nanoseconds(contestant) * 1e9;
  }

  /** How many times faster than the contestant Sinew is: the median of the rounds' ratios. */
  double speedAgainst(String contestant) {
    double[] sinew = rounds.get("sinew");
    double[] other = rounds.get(contestant);
    double[] ratios = new double[sinew.length];
    for (int i = 0; i < ratios.length; i++) {
      ratios[i] = other[i] / sinew[i];
    }
    return median(ratios);
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
}
