package dev.sinew.benchmarks;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Everything that was measured, as Markdown and as JSON.
 *
 * @param calls nanoseconds a call
 * @param passes kernels over whole tensors
 * @param streams files through optimize
 */
record Results(
    Map<String, String> machine, Map<String, Double> calls, List<Row> passes, List<Row> streams) {

  private static final String PASS_HEADER =
      """
      | kernel | MiB of F32 | threads | Sinew GB/s | of the probe | libtorch GB/s | faster than libtorch | Java loop GB/s | faster than Java |
      |---|---|---|---|---|---|---|---|---|
      """;

  static String passHeader() {
    return PASS_HEADER;
  }

  static String passLine(Row row) {
    return String.format(
        Locale.ROOT,
        "| %s | %d | %d | %s | %.2f | %s | %s | %s | %s |%n",
        row.name(),
        row.mebibytes(),
        row.threads(),
        gigabytes(row, "sinew"),
        row.speedAgainst("probe"),
        gigabytes(row, "libtorch"),
        factor(row, "libtorch"),
        gigabytes(row, "javaLoop"),
        factor(row, "javaLoop"));
  }

  private static String gigabytes(Row row, String contestant) {
    return row.has(contestant)
        ? String.format(Locale.ROOT, "%.1f", row.bytesPerSecond(contestant) / 1e9)
        : "";
  }

  private static String factor(Row row, String contestant) {
    return row.has(contestant)
        ? String.format(Locale.ROOT, "%.2f", row.speedAgainst(contestant))
        : "";
  }

  void writeMarkdown(Path file) throws IOException {
    StringBuilder text = new StringBuilder("# Benchmarks\n\n");
    machine.forEach(
        (label, value) -> text.append("- ").append(label).append(": ").append(value).append('\n'));
    text.append("\n## Cost of a call\n\n| call | ns |\n|---|---|\n");
    calls.forEach(
        (name, nanoseconds) ->
            text.append(String.format(Locale.ROOT, "| %s | %.0f |%n", name, nanoseconds)));
    text.append(
        """

        ## Whole passes

        Medians of rounds in which every contestant runs once, and medians of the rounds' ratios. GB/s counts the bytes
        that Sinew reads and writes, for all contestants. The probe moves the same bytes without arithmetic. libtorch has
        the same threads, inputs on the same huge pages, and outputs on huge pages that it reuses.

        """);
    text.append(PASS_HEADER);
    passes.forEach(row -> text.append(passLine(row)));
    text.append(
        """

        ## Streaming

        A safetensors file of 1 GiB in the page cache through `Optimizer.optimize`, against copying it with FileChannel;
        both force their output to the disk.

        | recipe | threads | optimize s | copy s | time, times the copy's | GB/s |
        |---|---|---|---|---|---|
        """);
    for (Row row : streams) {
      text.append(
          String.format(
              Locale.ROOT,
              "| %s | %d | %.2f | %.2f | %.2f | %.2f |%n",
              row.name(),
              row.threads(),
              row.nanoseconds("sinew") / 1e9,
              row.nanoseconds("probe") / 1e9,
              1 / row.speedAgainst("probe"),
              row.bytesPerSecond("sinew") / 1e9));
    }
    Files.writeString(file, text);
  }

  /**
   * An object with {@code machine} (label to value), {@code calls} (name to nanoseconds), {@code
   * passes} and {@code streams}: for each its {@code name}, {@code threads}, {@code mebibytes},
   * {@code bytes}, {@code nanoseconds} (medians by contestant), {@code ratios} (how many times
   * faster Sinew is than each) and {@code rounds} (all nanoseconds by contestant).
   */
  void writeJson(Path file) throws IOException {
    try (JsonGenerator json =
        new JsonFactory()
            .createGenerator(Files.newBufferedWriter(file))
            .useDefaultPrettyPrinter()) {
      json.writeStartObject();
      json.writeObjectFieldStart("machine");
      for (Map.Entry<String, String> fact : machine.entrySet()) {
        json.writeStringField(fact.getKey(), fact.getValue());
      }
      json.writeEndObject();
      json.writeObjectFieldStart("calls");
      for (Map.Entry<String, Double> call : calls.entrySet()) {
        json.writeNumberField(call.getKey(), call.getValue());
      }
      json.writeEndObject();
      write(json, "passes", passes);
      write(json, "streams", streams);
      json.writeEndObject();
      json.writeRaw('\n');
    }
  }

  private static void write(JsonGenerator json, String name, List<Row> rows) throws IOException {
    json.writeArrayFieldStart(name);
    for (Row row : rows) {
      json.writeStartObject();
      json.writeStringField("name", row.name());
      json.writeNumberField("threads", row.threads());
      json.writeNumberField("mebibytes", row.mebibytes());
      json.writeNumberField("bytes", row.bytes());
      json.writeObjectFieldStart("nanoseconds");
      for (String contestant : row.rounds().keySet()) {
        json.writeNumberField(contestant, row.nanoseconds(contestant));
      }
      json.writeEndObject();
      json.writeObjectFieldStart("ratios");
      for (String contestant : row.rounds().keySet()) {
        if (!contestant.equals("sinew")) {
          json.writeNumberField(contestant, row.speedAgainst(contestant));
        }
      }
      json.writeEndObject();
      json.writeObjectFieldStart("rounds");
      for (Map.Entry<String, double[]> contestant : row.rounds().entrySet()) {
        json.writeFieldName(contestant.getKey());
        json.writeArray(contestant.getValue(), 0, contestant.getValue().length);
      }
      json.writeEndObject();
      json.writeEndObject();
    }
    json.writeEndArray();
  }
}
