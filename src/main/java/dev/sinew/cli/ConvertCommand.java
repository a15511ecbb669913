package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "convert",
    description = {
      "Writes a checkpoint of any readable format as safetensors, values unchanged unless told"
          + " otherwise.",
      "",
      "The folder of a model becomes a folder, or one file if OUT ends with .safetensors."
    })
final class ConvertCommand extends SinewCommand {
  @Mixin private InputAndOutput files;

  @Option(
      names = "--dense",
      description =
          "Write tensors that 'sinew optimize --sparse-format' has stored with a bitmap as dense"
              + " ones again, and a folder in the format compressed-tensors as the model that it"
              + " was made from.")
  private boolean dense;

  @Option(
      names = "--dequantize",
      description =
          "Write all quantized and clustered tensors as floats, in the type that config.json states"
              + " or that of their scales.")
  private boolean dequantize;

  @Override
  public Integer call() throws IOException {
    long start = System.nanoTime();
    try (Checkpoint input = CheckpointFormat.open(files.input())) {
      files.requireWritableOutput(List.of(input));
      Dequantized converted = converted(input);
      Checkpoint source = converted.view();
      List<TensorInfo> tensors = converted.tensors();
      long bytes = tensors.stream().mapToLong(TensorInfo::bytes).sum();
      try (CheckpointWriter writer =
              files.create(input, plan(input, converted), converted.files());
          ProgressDisplay progress = progress()) {
        progress.started(bytes);
        TensorReader reader = new TensorReader();
        for (TensorInfo tensor : tensors) {
          copy(source, tensor, reader, writer, progress);
        }
        writer.commit();
      }
      PrintWriter out = terminal().out();
      out.printf(
          "%s (%s) -> %s (safetensors): %s, %s in %s s%n",
          Messages.printable(files.input().toString()),
          input.format(),
          Messages.printable(files.output().toString()),
          Text.plural(tensors.size(), "tensor"),
          Text.bytes(bytes),
          Text.fixed((System.nanoTime() - start) / 1e9, 2));
      Optional<ModelFolder> folder = files.folderToFollow(input);
      if (folder.isPresent()) {
        FolderSummary.print(out, folder.get().files());
      }
    }
    return Main.OK;
  }

  private Dequantized converted(Checkpoint input) throws IOException {
    if (dequantize || dense && Dequantized.quantizedConfig(input).isPresent()) {
      return Dequantized.of(input);
    }
    // Closed with the input.
    @SuppressWarnings("resource")
    Checkpoint view = dense ? Decoding.dense(input) : input;
    return new Dequantized(view, List.copyOf(view.tensors().values()), Map.of(), false);
  }

  private static CheckpointPlan plan(Checkpoint input, Dequantized converted) {
    Map<String, List<TensorInfo>> outputs = new LinkedHashMap<>();
    for (TensorInfo tensor : converted.tensors()) {
      // Packed weights have another name, and stay in their shard.
      String name = tensor.name();
      outputs.put(input.tensors().containsKey(name) ? name : name + "_packed", List.of(tensor));
    }
    Map<String, String> metadata = metadata(input);
    if (converted.isPlain()) {
      metadata.remove(QuantizedTensor.GROUP_KEY);
    }
    return new CheckpointPlan(outputs, metadata);
  }

  private static void copy(
      Checkpoint input,
      TensorInfo tensor,
      TensorReader reader,
      CheckpointWriter writer,
      ProgressDisplay progress)
      throws IOException {
    long[] offset = {0};
    reader.forEach(
        input,
        tensor,
        piece -> {
          long bytes = piece.remaining();
          writer.write(tensor.name(), offset[0], piece);
          offset[0] += bytes;
          progress.advanced(bytes);
        });
  }

  /** The input's own, and what transformers looks for to know that these are PyTorch's layouts. */
  private static Map<String, String> metadata(Checkpoint input) {
    Map<String, String> metadata = new TreeMap<>(input.metadata());
    metadata.putIfAbsent("format", "pt");
    return metadata;
  }
}
