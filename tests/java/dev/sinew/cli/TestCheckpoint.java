package dev.sinew.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;

/** Safetensors files written and read byte by byte, without any of the code under test. */
public final class TestCheckpoint {
  /** A tensor as it stands in a file. */
  public record Stored(String dtype, List<Long> shape, byte[] data) {
    public ByteBuffer buffer() {
      return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    }

    public float[] floats() {
      float[] values = new float[data.length / 4];
      buffer().asFloatBuffer().get(values);
      return values;
    }
  }

  private final Map<String, Stored> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  public TestCheckpoint metadata(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  public TestCheckpoint add(String name, String dtype, byte[] data, long... shape) {
    tensors.put(name, new Stored(dtype, Arrays.stream(shape).boxed().toList(), data));
    return this;
  }

  public TestCheckpoint floats(String name, float[] values, long... shape) {
    return add(name, "F32", bytes(values), shape);
  }

  public TestCheckpoint longs(String name, long... values) {
    ByteBuffer data = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    data.asLongBuffer().put(values);
    return add(name, "I64", data.array(), values.length);
  }

  /** Writes the file, tensors in the order they were added. */
  public Path write(Path file) throws IOException {
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    List<String> entries = new ArrayList<>();
    if (!metadata.isEmpty()) {
      entries.add(
          "\"__metadata__\":{"
              + metadata.entrySet().stream()
                  .map(e -> quote(e.getKey()) + ":" + quote(e.getValue()))
                  .collect(Collectors.joining(","))
              + "}");
    }
    tensors.forEach(
        (name, tensor) -> {
          int begin = data.size();
          data.writeBytes(tensor.data);
          entries.add(
              quote(name)
                  + ":{\"dtype\":\""
                  + tensor.dtype
                  + "\",\"shape\":"
                  + tensor.shape.toString().replace(" ", "")
                  + ",\"data_offsets\":["
                  + begin
                  + ","
                  + data.size()
                  + "]}");
        });
    byte[] header = ("{" + String.join(",", entries) + "}").getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes =
        ByteBuffer.allocate(8 + header.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(header.length).put(header).put(data.toByteArray());
    return Files.write(file, bytes.array());
  }

  private static String quote(String text) {
    StringBuilder out = new StringBuilder("\"");
    text.chars().forEach(c -> out.append(String.format("\\u%04x", c)));
    return out.append('"').toString();
  }

  public static byte[] bytes(float... values) {
    ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    data.asFloatBuffer().put(values);
    return data.array();
  }

  /** The tensors of a file. */
  @SuppressWarnings("unchecked")
  public static Map<String, Stored> read(Path file) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int length = (int) bytes.getLong(0);
    Map<String, Stored> found = new LinkedHashMap<>();
    header(bytes, length)
        .forEach(
            (name, value) -> {
              if (!name.equals("__metadata__")) {
                Map<String, Object> entry = (Map<String, Object>) value;
                List<Long> offsets = (List<Long>) entry.get("data_offsets");
                byte[] data = new byte[(int) (offsets.get(1) - offsets.get(0))];
                bytes.get(8 + length + offsets.get(0).intValue(), data);
                found.put(
                    name,
                    new Stored((String) entry.get("dtype"), (List<Long>) entry.get("shape"), data));
              }
            });
    return found;
  }

  @SuppressWarnings("unchecked")
  public static Map<String, String> readMetadata(Path file) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    return (Map<String, String>) header(bytes, (int) bytes.getLong(0)).get("__metadata__");
  }

  private static Map<String, Object> header(ByteBuffer bytes, int length) {
    return JsonText.object(new String(bytes.array(), 8, length, StandardCharsets.UTF_8));
  }

  /** Normal values of standard deviation 0.02. */
  public static float[] weights(long seed, int count) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (0.02 * random.nextGaussian());
    }
    return values;
  }

  /** A model with weights, and everything that passes leave alone. */
  public static TestCheckpoint model() {
    return model(0);
  }

  /** The same with other weights. */
  public static TestCheckpoint model(long seed) {
    return new TestCheckpoint()
        .metadata("origin", "test")
        .floats("embed.weight", weights(seed + 1, 40), 10, 4)
        .floats("layer.0.weight", weights(seed + 2, 33 * 7), 33, 7)
        .floats("layer.0.bias", weights(seed + 3, 33), 33)
        .floats("layer.1.weight", weights(seed + 4, 5 * 2 * 3 * 3), 5, 2, 3, 3)
        .floats("norm.weight", weights(seed + 5, 12), 3, 4)
        .longs("steps", 7504);
  }
}
