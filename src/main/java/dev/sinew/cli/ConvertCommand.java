package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.io.PrintWriter;
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
      "Writes a checkpoint of any readable format as safetensors, values unchanged.",
      "",
      "The folder of a model becomes a folder, or one file if OUT ends with .safetensors."
    })
final class ConvertCommand extends SinewCommand {
  @Mixin private InputAndOutput files;

  @Option(
      names = "--dense",
      description =
          "Write tensors that 'sinew optimize --sparse-format' has stored with a bitmap as dense"
              + " ones again.")
  private boolean dense;

  @Override
  public Integer call() throws IOException {
    long start = System.nanoTime();
    try (Checkpoint input = CheckpointFormat.open(files.input())) {
      files.requireWritableOutput(List.of(input));
      // Closed with the input.
      @SuppressWarnings("resource")
      Checkpoint source = dense ? Decoding.dense(input) : input;
      List<TensorInfo> tensors = List.copyOf(source.tensors().values());
      long bytes = tensors.stream().mapToLong(TensorInfo::bytes).sum();
      try (CheckpointWriter writer =
              files.create(input, CheckpointPlan.copyOf(source, metadata(input)), Map.of());
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
