package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.io.ModelConfig;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.pass.CompressedTensors;
import dev.sinew.pass.LinearLayers;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What {@code optimize --format compressed-tensors} makes of a model folder.
 *
 * @param plan which layers are quantized, and how loaders are told
 * @param config the text of the new config.json
 */
record CompressedTensorsOutput(CompressedTensors plan, byte[] config) {
  private static final String OPTION = "--format compressed-tensors";

  /**
   * @param folder that the output takes its form from
   * @throws CheckpointException one sentence if this is no folder that can be written so
   */
  static CompressedTensorsOutput of(
      Checkpoint input, Optional<ModelFolder> folder, Quantize quantize, Targets targets)
      throws IOException {
    if (folder.isEmpty()) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + (input instanceof ModelFolder
                  ? " would become a single file, but "
                  : " is a single file, but ")
              + OPTION
              + " writes the folder of a model, whose config.json says how it is quantized; give"
              + (input instanceof ModelFolder ? " OUT the name of a folder" : " such a folder"));
    }
    ModelConfig config =
        folder
            .get()
            .config()
            .orElseThrow(
                () ->
                    new CheckpointException(
                        Messages.quote(input.path())
                            + " has no config.json, which "
                            + OPTION
                            + " reads and writes; download or save it too"));
    if (config.isQuantized()) {
      throw new CheckpointException(
          Messages.quote(config.path())
              + " has a quantization_config already; give the model it was made from");
    }
    Quantize scaled =
        config.dtype().isPresent() ? quantize.withScales(config.dtype().get()) : quantize;
    CompressedTensors plan =
        CompressedTensors.plan(input, scaled, targets.of(layers(config, targets)));
    return new CompressedTensorsOutput(plan, config.withQuantization(plan.configuration()));
  }

  private static LinearLayers layers(ModelConfig config, Targets targets)
      throws CheckpointException {
    String architecture = config.architecture().orElse(null);
    String modelType = config.modelType().orElse(null);
    String name = architecture != null ? architecture : modelType;
    if (LinearLayers.isTransposed(architecture, modelType)) {
      throw new CheckpointException(
          Messages.quote(config.path())
              + " names the architecture "
              + Messages.quote(name)
              + ", whose weights are those of Conv1D modules, transposed, which loaders of"
              + " compressed-tensors do not take; leave out "
              + OPTION);
    }
    Optional<LinearLayers> known = LinearLayers.of(architecture, modelType);
    if (known.isEmpty() && targets.targets().isEmpty()) {
      throw new CheckpointException(
          Messages.quote(config.path())
              + (name == null
                  ? " names no architecture"
                  : " names the architecture "
                      + Messages.quote(name)
                      + ", which Sinew does not know")
              + "; state its Linear layers with --targets, for example --targets '*_proj.weight'");
    }
    return known.orElseGet(LinearLayers::stated);
  }

  /** The passes with the plan's in the place of the one that it was made from. */
  List<Pass> passes(List<Pass> passes) {
    return passes.stream()
        .<Pass>map(pass -> pass instanceof Quantize ? plan.quantize() : pass)
        .toList();
  }

  /** The files that are written anew. */
  Map<String, byte[]> files() {
    return Map.of(ModelConfig.FILE_NAME, config);
  }
}
