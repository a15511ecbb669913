package dev.sinew.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The example with the trained network: its accuracy in every form is what NumPy finds. */
class MnistTest {
  @TempDir Path work;

  @Test
  @Timeout(240)
  void accuracyOnTheTestImages() throws IOException {
    Path folder = Path.of(System.getProperty("sinew.data", "../shared/data"), "mnist");
    assumeTrue(Files.exists(folder), "skipped: there is no " + folder + "; set -Dsinew.data");
    List<Mnist.Result> results = Mnist.run(folder, work, 10_000, 1);
    results.forEach(System.out::println);
    assertEquals(5, results.size());
    // The two files are of two trainings of one network.
    assertEquals(9915, results.get(0).right(), results.get(0).name());
    assertEquals(9917, results.get(1).right(), results.get(1).name());
    assertTrue(results.get(2).right() >= 9907, results.get(2).toString());
    // The yardstick is 9,921; a score or two may be decided by the order of a sum.
    assertEquals(9921, results.get(3).right(), 1, results.get(3).name());
    assertTrue(results.get(4).right() >= 9907, results.get(4).toString());
    assertTrue(results.get(2).fileBytes() < results.get(0).fileBytes() / 3);
    assertTrue(results.get(4).fileBytes() < results.get(2).fileBytes());
    assertTrue(results.get(4).weightBytes() < results.get(0).weightBytes() / 2);
  }
}
