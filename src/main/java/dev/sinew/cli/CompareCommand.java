package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.internal.Messages;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "compare",
    description = {
      "Says how much checkpoint B differs from A, tensor by tensor; quantized tensors are"
          + " dequantized first.",
      "The exit status is 1 if names, shapes or kinds of type differ, and 0 otherwise, however"
          + " large the errors are."
    })
final class CompareCommand extends SinewCommand {
  private static final int NAMES_SHOWN = 3;

  @Parameters(index = "0", paramLabel = "A", description = "The original checkpoint.")
  private Path pathA;

  @Parameters(index = "1", paramLabel = "B", description = "The checkpoint to compare with it.")
  private Path pathB;

  @Option(names = "--json", description = "Print JSON; docs/cli.md describes the fields.")
  private boolean json;

  /** Which tensors stand in which of the two. */
  private record Matching(
      List<TensorInfo> comparable,
      List<TensorInfo> different,
      List<String> onlyInA,
      List<String> onlyInB) {
    static Matching of(Checkpoint a, Checkpoint b) {
      Matching found =
          new Matching(new ArrayList<>(), new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
      for (TensorInfo tensor : a.tensors().values()) {
        TensorInfo other = b.tensors().get(tensor.name());
        if (other == null) {
          found.onlyInA.add(tensor.name());
        } else if (TensorComparison.isPossible(tensor, other)) {
          found.comparable.add(tensor);
        } else {
          found.different.add(tensor);
        }
      }
      b.tensors().keySet().stream()
          .filter(name -> !a.tensors().containsKey(name))
          .forEach(found.onlyInB::add);
      return found;
    }

    boolean isComplete() {
      return different.isEmpty() && onlyInA.isEmpty() && onlyInB.isEmpty();
    }

    /** What keeps the checkpoints from being the same kind of thing, in one sentence. */
    String problem() {
      List<String> parts = new ArrayList<>();
      add(parts, onlyInA, "in A only");
      add(parts, onlyInB, "in B only");
      add(parts, different.stream().map(TensorInfo::name).toList(), "of different shape or type");
      return "A and B do not hold the same tensors: " + String.join("; ", parts);
    }

    private static void add(List<String> parts, List<String> names, String what) {
      if (!names.isEmpty()) {
        parts.add(names.size() + " " + what + " (" + Text.some(names, NAMES_SHOWN) + ")");
      }
    }
  }

  /** Hears of one compared tensor after the other. */
  private interface Listener {
    void compared(TensorInfo tensor, TensorComparison found) throws IOException;
  }

  @Override
  public Integer call() throws IOException {
    try (Checkpoint a = Decoding.view(CheckpointFormat.open(pathA));
        Checkpoint b = Decoding.view(CheckpointFormat.open(pathB));
        ProgressDisplay progress = progress()) {
      Matching matching = Matching.of(a, b);
      progress.started(matching.comparable.stream().mapToLong(TensorInfo::bytes).sum());
      if (json) {
        printJson(a, b, matching, progress);
      } else {
        printTable(a, b, matching, progress);
      }
      if (matching.isComplete()) {
        return Main.OK;
      }
      progress.close();
      terminal().error(matching.problem());
      return Main.FAILURE;
    }
  }

  private TensorComparison compareAll(
      Checkpoint a, Checkpoint b, Matching matching, ProgressDisplay progress, Listener listener)
      throws IOException {
    TensorComparison.Reader reader = new TensorComparison.Reader();
    TensorComparison total = TensorComparison.none();
    for (TensorInfo tensor : matching.comparable) {
      terminal().flush();
      TensorComparison found = reader.compare(a, tensor, b, b.tensors().get(tensor.name()));
      listener.compared(tensor, found);
      total = total.plus(found);
      progress.advanced(tensor.bytes());
    }
    return total;
  }

  private void printTable(Checkpoint a, Checkpoint b, Matching matching, ProgressDisplay progress)
      throws IOException {
    PrintWriter out = terminal().out();
    int width =
        matching.comparable.stream()
            .mapToInt(tensor -> Math.min(60, Messages.printable(tensor.name()).length()))
            .max()
            .orElse(0);
    Table table =
        new Table()
            .left("name", width)
            .right("max error", 11)
            .right("SNR dB", 7)
            .right("cosine", 10)
            .left("", 0);
    out.println("A: " + Messages.printable(a.path().toString()) + ", " + a.format());
    out.println("B: " + Messages.printable(b.path().toString()) + ", " + b.format());
    table.header(out);
    TensorComparison total =
        compareAll(
            a, b, matching, progress, (tensor, found) -> row(table, out, tensor.name(), found));
    row(table, out, "all", total);
    for (TensorInfo tensor : matching.different) {
      out.println(
          Messages.printable(tensor.name())
              + ": "
              + describe(tensor)
              + " in A, "
              + describe(b.tensors().get(tensor.name()))
              + " in B");
    }
    matching.onlyInA.forEach(name -> out.println(Messages.printable(name) + ": in A only"));
    matching.onlyInB.forEach(name -> out.println(Messages.printable(name) + ": in B only"));
  }

  private static void row(Table table, PrintWriter out, String name, TensorComparison found) {
    String note = "";
    if (found.notFiniteA() > 0 || found.notFiniteB() > 0) {
      note = "NaN or infinite: " + found.notFiniteA() + " in A, " + found.notFiniteB() + " in B";
    }
    table.row(
        out,
        Messages.printable(name),
        found.floating() ? Text.value(found.maxAbsError()) : "-",
        found.equal()
            ? "exact"
            : !found.floating() ? "differs" : Text.decibels(found.snrDecibels()),
        found.floating() && !Double.isNaN(found.cosine()) ? Text.fixed(found.cosine(), 8) : "-",
        note);
  }

  private static String describe(TensorInfo tensor) {
    return tensor.dtype() + " " + Text.shape(tensor.shape());
  }

  private void printJson(Checkpoint a, Checkpoint b, Matching matching, ProgressDisplay progress)
      throws IOException {
    PrintWriter out = terminal().out();
    try (JsonGenerator generator = Json.to(out)) {
      generator.writeStartObject();
      generator.writeStringField("a", a.path().toString());
      generator.writeStringField("b", b.path().toString());
      generator.writeBooleanField("comparable", matching.isComplete());
      generator.writeArrayFieldStart("tensors");
      TensorComparison total =
          compareAll(
              a,
              b,
              matching,
              progress,
              (tensor, found) -> {
                generator.writeStartObject();
                generator.writeStringField("name", tensor.name());
                Json.numbers(generator, "shape", tensor.shape());
                generator.writeStringField("dtype_a", tensor.dtype().name());
                generator.writeStringField(
                    "dtype_b", b.tensors().get(tensor.name()).dtype().name());
                write(generator, found);
                generator.writeEndObject();
                generator.flush();
              });
      generator.writeEndArray();
      generator.writeObjectFieldStart("total");
      write(generator, total);
      generator.writeEndObject();
      generator.writeArrayFieldStart("different");
      for (TensorInfo tensor : matching.different) {
        TensorInfo other = b.tensors().get(tensor.name());
        generator.writeStartObject();
        generator.writeStringField("name", tensor.name());
        generator.writeStringField("dtype_a", tensor.dtype().name());
        generator.writeStringField("dtype_b", other.dtype().name());
        Json.numbers(generator, "shape_a", tensor.shape());
        Json.numbers(generator, "shape_b", other.shape());
        generator.writeEndObject();
      }
      generator.writeEndArray();
      Json.strings(generator, "only_in_a", matching.onlyInA);
      Json.strings(generator, "only_in_b", matching.onlyInB);
      generator.writeEndObject();
    }
    out.println();
  }

  private static void write(JsonGenerator generator, TensorComparison found) throws IOException {
    generator.writeBooleanField("equal", found.equal());
    Json.number(generator, "max_abs_error", found.floating() ? found.maxAbsError() : Double.NaN);
    Json.number(generator, "snr_db", found.floating() ? found.snrDecibels() : Double.NaN);
    Json.number(generator, "cosine", found.floating() ? found.cosine() : Double.NaN);
    generator.writeNumberField("not_finite_a", found.notFiniteA());
    generator.writeNumberField("not_finite_b", found.notFiniteB());
  }
}
