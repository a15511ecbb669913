package dev.sinew.benchmarks.peers;

import java.util.List;
import java.util.function.Predicate;

/**
 * What a kind of layer is to reach.
 *
 * @param goal in words
 * @param problems those it is about
 * @param measure the ratio of Sinew's fastest to the goal's yardstick
 * @param least of the ratio
 */
record Target(String goal, Predicate<String> problems, Measure measure, double least) {
  /** The yardstick: the fastest peer, one of them by its name, or the ceiling. */
  interface Measure {
    double of(Outcome ours, List<Outcome> peers);
  }

  private static Measure peer(String name) {
    return (ours, peers) ->
        peers.stream()
            .filter(peer -> peer.contestant().contains(name))
            .mapToDouble(ours::speedAgainst)
            .min()
            .orElse(Double.NaN);
  }

  private static final Measure CEILING = (ours, peers) -> ours.rate() / ours.ceiling();

  private static Predicate<String> matching(String expression) {
    return name -> name.matches(expression);
  }

  /** The CPU column of the project's table of targets, as far as layers go. */
  static List<Target> all() {
    return List.of(
        new Target(
            "W8A8, F32 to F32, 128 rows and more, 1 thread: 2 x the best dynamic-quantized peer",
            matching("int8 (128|512) x 4096 x 4096 threads=1"),
            peer("DynamicQuantizeMatMul"),
            2.0),
        new Target(
            "the same on 2 threads: 1.8 x",
            matching("int8 (128|512) x 4096 x 4096 threads=2"),
            peer("DynamicQuantizeMatMul"),
            1.8),
        new Target(
            "W8A8, 128 rows and more, against oneDNN's raw product u8 x s8: 1.25 x",
            matching("int8 (128|512) x 4096 x 4096 .*"),
            peer("oneDNN"),
            1.25),
        new Target(
            "the same for the other shapes: 0.9 x",
            matching("int8 (32 x 4096|128 x (768|3072)) .*"),
            peer("oneDNN"),
            0.9),
        new Target(
            "W8A8, 1 row: 0.93 of the read bandwidth", matching("int8 1 x .*"), CEILING, 0.93),
        new Target("W8A8, 1 row: level with the best peer", matching("int8 1 x .*"), peer(""), 1.0),
        new Target(
            "int4 in groups of 128, 1 row: 0.87 of the read bandwidth",
            matching("int4_weights 1 x .*"),
            CEILING,
            0.87),
        new Target(
            "int4 in groups of 128, 128 rows: 4 x the best peer",
            matching("int4_weights 128 x 4096 x 4096 .*"),
            peer(""),
            4.0),
        new Target(
            "sparse int8, half zero, 1 row: 1.4 x our dense int8",
            matching("sparse 1 x .*"),
            peer("dense"),
            1.4));
  }
}
