package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class ConvertCommandTest extends CommandLineTest {
  @Test
  void everyDtypeKeepsItsBytes() throws IOException {
    Random random = new Random(11);
    TestCheckpoint model = new TestCheckpoint().metadata("a", "b");
    Map<String, Integer> bits =
        Map.of("F64", 64, "F16", 16, "BF16", 16, "BOOL", 8, "U16", 16, "F8_E4M3", 8, "F4", 4);
    bits.forEach(
        (dtype, size) -> {
          byte[] data = new byte[6 * 2 * size / 8];
          random.nextBytes(data);
          if (dtype.equals("BOOL")) {
            java.util.Arrays.fill(data, (byte) 1);
          }
          model.add("t." + dtype, dtype, data, 6, 2);
        });
    float[] large = TestCheckpoint.weights(3, 2 * TensorReader.PIECE + 1);
    model.floats("large", large, large.length).floats("none", new float[0], 0, 3);
    Path in = model.write(path("in"));

    String printed = run("convert", in, path("out")).ok().out();

    assertTrue(printed.contains("9 tensors"), printed);
    Map<String, Stored> before = TestCheckpoint.read(in);
    Map<String, Stored> after = TestCheckpoint.read(path("out"));
    assertEquals(before.keySet(), after.keySet());
    before.forEach(
        (name, tensor) -> {
          assertEquals(tensor.dtype(), after.get(name).dtype());
          assertEquals(tensor.shape(), after.get(name).shape());
          assertArrayEquals(tensor.data(), after.get(name).data(), name);
        });
    assertEquals(Map.of("a", "b", "format", "pt"), TestCheckpoint.readMetadata(path("out")));
  }

  @Test
  void aFormatInTheMetadataStays() throws IOException {
    Path in = TestCheckpoint.model().metadata("format", "tf").write(path("in"));
    run("convert", in, path("out")).ok();
    assertEquals("tf", TestCheckpoint.readMetadata(path("out")).get("format"));
  }

  @Test
  void readsPyTorchFiles() throws IOException {
    Path file = Path.of(System.getProperty("sinew.data", "none"), "mnist", "cnn.pt");
    Assumptions.assumeTrue(Files.exists(file), "skipped: " + file + " is not there");
    run("convert", file, path("out")).ok();
    Map<String, Stored> tensors = TestCheckpoint.read(path("out"));
    assertEquals(20, tensors.size());
    assertEquals(List.of(24L, 16L, 3L, 3L), tensors.get("conv3.weight").shape());
    run("compare", file, path("out")).ok();
  }

  @Test
  void anExistingOutputIsReplacedOnlyByForce() throws IOException {
    Path in = TestCheckpoint.model().write(path("in"));
    Path out = Files.writeString(path("out"), "precious");
    run("convert", in, out).failed(1, "exists already", "--force");
    assertEquals("precious", Files.readString(out));
    run("convert", in, in, "--force").failed(1, "is the input itself");
    run("convert", in, out, "--force").ok();
    assertEquals(6, TestCheckpoint.read(out).size());
    assertEquals(List.of("in", "out"), files(folder));
  }
}
