package dev.sinew.benchmarks.peers;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

/**
 * What the machine reaches when nothing is loaded, or nothing is computed, as benchmarks/cpp
 * measures it.
 *
 * @param integers operations a second from registers, of the instructions that int8 products use
 * @param floats the same of F32
 * @param bytes read from memory in a second
 */
record Ceilings(double integers, double floats, double bytes) {
  static Ceilings measure(int threads) throws IOException {
    Process process =
        new ProcessBuilder(System.getProperty("sinew.benchmark.peak"), Integer.toString(threads))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String output =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
    String[] numbers = output.split(" ");
    if (numbers.length != 3) {
      throw new IOException("sinew_bench_peak said '" + output + "', not three numbers");
    }
    return new Ceilings(
        Double.parseDouble(numbers[0]),
        Double.parseDouble(numbers[1]),
        Double.parseDouble(numbers[2]));
  }

  double of(Problem problem) {
    return problem.decode() ? bytes : problem.work() == Problem.Work.F32 ? floats : integers;
  }
}
