package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.internal.NativeLibrary;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "inspect",
    description = "Shows what a checkpoint holds, with statistics of every tensor.")
final class InspectCommand extends SinewCommand {
  private static final int HISTOGRAM_CELLS = 16;
  private static final String BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588";

  @Parameters(
      paramLabel = "FILE",
      description = "A safetensors or PyTorch checkpoint, or the folder of a model.")
  private Path file;

  @Option(names = "--json", description = "Print JSON; docs/cli.md describes the fields.")
  private boolean json;

  // The tensors that are shown dense but stored with a bitmap.
  private Map<String, BitmapTensor> bitmaps;

  @Override
  public Integer call() throws IOException {
    try (Checkpoint stored = CheckpointFormat.open(file);
        ProgressDisplay progress = progress()) {
      bitmaps = BitmapTensor.find(stored);
      // Closed with what it shows.
      @SuppressWarnings("resource")
      Checkpoint checkpoint = Decoding.dense(stored);
      if (checkpoint.tensors().values().stream().anyMatch(t -> t.dtype().isComputable())) {
        // Before half of an answer is printed.
        NativeLibrary.load();
      }
      // A table that grows on the terminal shows progress by itself.
      if (json || !terminal().outIsTerminal()) {
        progress.started(totalBytes(checkpoint.tensors().values()));
      }
      if (json) {
        printJson(checkpoint, progress);
      } else {
        printTable(checkpoint, progress);
      }
    }
    return Main.OK;
  }

  private void printTable(Checkpoint checkpoint, ProgressDisplay progress) throws IOException {
    PrintWriter out = terminal().out();
    Collection<TensorInfo> tensors = checkpoint.tensors().values();
    out.printf(
        "%s: %s, %s, %s elements, %s%n",
        Messages.printable(checkpoint.path().toString()),
        checkpoint.format(),
        Text.plural(tensors.size(), "tensor"),
        Text.count(tensors.stream().mapToLong(TensorInfo::elements).sum()),
        Text.bytes(tensors.stream().mapToLong(this::storedBytes).sum()));
    for (Map.Entry<String, String> entry : checkpoint.metadata().entrySet()) {
      // Training tools put whole tag lists here; --json has all of it.
      out.println("  " + Messages.brief(entry.getKey()) + " = " + Messages.brief(entry.getValue()));
    }
    Table table = table(tensors);
    table.header(out);
    TensorReader reader = new TensorReader();
    for (TensorInfo tensor : tensors) {
      terminal().flush();
      String name = Messages.printable(tensor.name());
      String shape = Text.shape(tensor.shape());
      String bytes = Text.bytes(storedBytes(tensor));
      if (!tensor.dtype().isComputable()) {
        table.row(out, name, type(tensor), shape, bytes, "-", "-", "-", "-", "-", "-", "-", "");
        continue;
      }
      try (TensorStatistics found = statistics(checkpoint, tensor, reader, progress)) {
        table.row(
            out,
            name,
            type(tensor),
            shape,
            bytes,
            Text.value(found.min()),
            Text.value(found.max()),
            Text.value(found.absMax()),
            Text.value(found.mean()),
            tensor.elements() == 0 ? "-" : Text.fixed(100 * found.sparsity(), 2) + "%",
            Text.count(found.nan()),
            Text.count(found.infinities()),
            terminal().outIsTerminal() ? histogram(checkpoint, tensor, reader, found) : "");
      }
    }
  }

  private String type(TensorInfo tensor) {
    return tensor.dtype() + (bitmaps.containsKey(tensor.name()) ? " bitmap" : "");
  }

  private long storedBytes(TensorInfo tensor) {
    BitmapTensor bitmap = bitmaps.get(tensor.name());
    return bitmap == null ? tensor.bytes() : bitmap.storedBytes();
  }

  private Table table(Collection<TensorInfo> tensors) {
    int types = 4;
    int names = 0;
    int shapes = 0;
    for (TensorInfo tensor : tensors) {
      names = Math.max(names, Math.min(60, Messages.printable(tensor.name()).length()));
      types = Math.max(types, type(tensor).length());
      shapes = Math.max(shapes, Math.min(40, Text.shape(tensor.shape()).length()));
    }
    return new Table()
        .left("name", names)
        .left("dtype", types)
        .left("shape", shapes)
        .right("bytes", 7)
        .right("min", 11)
        .right("max", 11)
        .right("absmax", 11)
        .right("mean", 11)
        .right("zeros", 7)
        .right("NaN", 3)
        .right("inf", 3)
        .left("", HISTOGRAM_CELLS);
  }

  private void printJson(Checkpoint checkpoint, ProgressDisplay progress) throws IOException {
    PrintWriter out = terminal().out();
    Collection<TensorInfo> tensors = checkpoint.tensors().values();
    TensorReader reader = new TensorReader();
    try (JsonGenerator generator = Json.to(out)) {
      generator.writeStartObject();
      generator.writeStringField("file", checkpoint.path().toString());
      generator.writeStringField("format", checkpoint.format());
      Json.strings(generator, "metadata", checkpoint.metadata());
      generator.writeNumberField(
          "elements", tensors.stream().mapToLong(TensorInfo::elements).sum());
      generator.writeNumberField("bytes", tensors.stream().mapToLong(this::storedBytes).sum());
      generator.writeArrayFieldStart("tensors");
      for (TensorInfo tensor : tensors) {
        generator.flush();
        terminal().flush();
        writeTensor(generator, checkpoint, tensor, reader, progress);
      }
      generator.writeEndArray();
      generator.writeEndObject();
    }
    out.println();
  }

  private void writeTensor(
      JsonGenerator generator,
      Checkpoint checkpoint,
      TensorInfo tensor,
      TensorReader reader,
      ProgressDisplay progress)
      throws IOException {
    generator.writeStartObject();
    generator.writeStringField("name", tensor.name());
    generator.writeStringField("dtype", tensor.dtype().name());
    Json.numbers(generator, "shape", tensor.shape());
    generator.writeNumberField("elements", tensor.elements());
    generator.writeNumberField("bytes", storedBytes(tensor));
    generator.writeStringField("storage", bitmaps.containsKey(tensor.name()) ? "bitmap" : "dense");
    if (tensor.dtype().isComputable()) {
      try (TensorStatistics found = statistics(checkpoint, tensor, reader, progress)) {
        Json.number(generator, "min", found.min());
        Json.number(generator, "max", found.max());
        Json.number(generator, "absmax", found.absMax());
        Json.number(generator, "mean", found.mean());
        Json.number(generator, "sparsity", found.sparsity());
        generator.writeNumberField("zero_count", found.zeros());
        generator.writeNumberField("nan_count", found.nan());
        generator.writeNumberField("infinity_count", found.infinities());
      }
    } else {
      for (String unknown :
          new String[] {
            "min", "max", "absmax", "mean", "sparsity", "zero_count", "nan_count", "infinity_count"
          }) {
        generator.writeNullField(unknown);
      }
    }
    generator.writeEndObject();
  }

  private static TensorStatistics statistics(
      Checkpoint checkpoint, TensorInfo tensor, TensorReader reader, ProgressDisplay progress)
      throws IOException {
    TensorStatistics found = new TensorStatistics();
    try {
      reader.forEach(
          checkpoint,
          tensor,
          piece -> {
            long bytes = piece.remaining();
            try (Tensor view = TensorReader.wrap(piece, tensor.dtype())) {
              found.add(view);
            }
            progress.advanced(bytes);
          });
      return found;
    } catch (IOException | RuntimeException | Error e) {
      found.close();
      throw e;
    }
  }

  /** How the finite values are spread from min to max; empty where that says nothing. */
  private static String histogram(
      Checkpoint checkpoint, TensorInfo tensor, TensorReader reader, TensorStatistics found)
      throws IOException {
    if (!tensor.dtype().isFloating() || !(found.min() < found.max())) {
      return "";
    }
    try (Tensor counts = Tensor.allocate(Device.cpu(), DType.I64, HISTOGRAM_CELLS)) {
      reader.forEach(
          checkpoint,
          tensor,
          piece -> {
            try (Tensor view = TensorReader.wrap(piece, tensor.dtype())) {
              Ops.valueHistogram(view, found.min(), found.max(), counts);
            }
          });
      return blocks(counts.toLongs());
    }
  }

  /** One block character per count, as high as its share of the greatest. */
  static String blocks(long[] counts) {
    long most = 1;
    for (long count : counts) {
      most = Math.max(most, count);
    }
    StringBuilder line = new StringBuilder();
    for (long count : counts) {
      // Rounded up: what is there at all can be seen.
      line.append(BLOCKS.charAt((int) Math.ceil(8.0 * count / most)));
    }
    return line.toString();
  }

  private static long totalBytes(Collection<TensorInfo> tensors) {
    return tensors.stream().mapToLong(TensorInfo::bytes).sum();
  }
}
