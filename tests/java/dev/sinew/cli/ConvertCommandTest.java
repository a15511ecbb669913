package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint.Stored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
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

  @Test
  void dequantizeGivesFloatsOfWhateverSinewStores() throws IOException {
    Path in = TestCheckpoint.model().write(path("in"));
    for (String how :
        List.of("--quantize int8 --asymmetric", "--quantize int4", "--cluster bits=5")) {
      Stream<Object> options = Stream.of((Object[]) how.split(" "));
      run(Stream.concat(Stream.of("optimize", in, path("q"), "--force"), options).toArray()).ok();
      run("convert", path("q"), path("back"), "--dequantize", "--force").ok();
      assertEquals(TestCheckpoint.read(in).keySet(), TestCheckpoint.read(path("back")).keySet());
      assertEquals("F32", TestCheckpoint.read(path("back")).get("layer.0.weight").dtype());
      assertFalse(TestCheckpoint.readMetadata(path("back")).containsKey("sinew.group_size"));
      run("compare", path("q"), path("back")).ok();
    }
    run("convert", path("q"), path("same"), "--dense").ok();
    assertEquals(
        TestCheckpoint.read(path("q")).keySet(), TestCheckpoint.read(path("same")).keySet());
  }

  @Test
  void whatOthersHaveQuantizedIsNotDequantizedHalf() throws IOException {
    Path in = Files.createDirectory(path("in"));
    TestCheckpoint.model().write(in.resolve("model.safetensors"));
    Files.writeString(
        in.resolve("config.json"), "{\"quantization_config\": {\"quant_method\": \"gptq\"}}");
    run("convert", in, path("out"), "--dense").failed(1, "quantized by 'gptq'");
    Path packed = Files.createDirectory(path("packed"));
    new TestCheckpoint()
        .add("a.weight_packed", "U8", new byte[8], 2, 4)
        .add("a.weight_scale", "F8_E4M3", new byte[2], 2, 1)
        .write(packed.resolve("model.safetensors"));
    Files.writeString(
        packed.resolve("config.json"),
        "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\"}}");
    run("convert", packed, path("out"), "--dense")
        .failed(1, "'a.weight_packed' is stored in a way that Sinew does not read");
    // What loaders need for quantized activations does not belong to plain weights.
    Path activations = Files.createDirectory(path("activations"));
    new TestCheckpoint()
        .add("a.weight", "I8", new byte[] {1, 2, 3, 4}, 2, 2)
        .floats("a.weight_scale", new float[] {1, 2}, 2, 1)
        .floats("a.input_scale", new float[] {1}, 1)
        .floats("b.input_scale", new float[] {1}, 1)
        .write(activations.resolve("model.safetensors"));
    Files.copy(packed.resolve("config.json"), activations.resolve("config.json"));
    run("convert", activations, path("out"), "--dense").ok();
    Map<String, Stored> after = TestCheckpoint.read(path("out").resolve("model.safetensors"));
    assertEquals(Set.of("a.weight", "b.input_scale"), after.keySet());
    assertArrayEquals(TestCheckpoint.bytes(1, 2, 6, 8), after.get("a.weight").data());
    assertEquals("{}", Files.readString(path("out").resolve("config.json")));
  }
}
