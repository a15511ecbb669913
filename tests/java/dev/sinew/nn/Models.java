package dev.sinew.nn;

import dev.sinew.QuantScheme;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.Cluster;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.QuantizedLayout;
import dev.sinew.pass.Storage;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Checkpoints as {@code sinew optimize} writes them. */
final class Models {
  private Models() {}

  /** Writes the model to a file of its own, optimized as the recipe says. */
  static Path optimized(Checkpoint model, Path folder, String recipe) throws IOException {
    Path file = folder.resolve("model-" + System.nanoTime() + ".safetensors");
    List<Pass> passes = new ArrayList<>();
    Storage storage = Storage.DENSE;
    for (String word : recipe.isEmpty() ? new String[0] : recipe.split(" ")) {
      String[] parts = word.split(":");
      switch (parts[0]) {
        case "prune" -> passes.add(Prune.parse(word.substring("prune:".length())));
        case "cluster" -> passes.add(Cluster.parse(parts[1]));
        case "bitmap" -> storage = Storage.BITMAP;
        default -> {
          boolean asymmetric = parts.length > 2 && parts[2].equals("asymmetric");
          boolean foreign = parts[0].startsWith("ct-");
          QuantScheme scheme = QuantScheme.named(parts[0].replace("ct-", ""), asymmetric);
          passes.add(
              Quantize.of(scheme, parts[1], "minmax")
                  .in(foreign ? QuantizedLayout.COMPRESSED_TENSORS : QuantizedLayout.SINEW));
        }
      }
    }
    Optimizer.Options options =
        new Optimizer.Options(Targets.byDefault(), 2, false, Optimizer.Progress.NONE, storage);
    Optimizer.optimize(model, passes, options, plan -> SafeTensors.create(file, plan, false));
    return file;
  }

  static Checkpoint open(Path file) throws IOException {
    return CheckpointFormat.open(file);
  }
}
