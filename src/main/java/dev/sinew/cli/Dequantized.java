package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.io.ModelConfig;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A quantized checkpoint as the model of plain weights that it stands for.
 *
 * @param view the weights, in the type that config.json states or else that of their scales
 * @param tensors of the view, without what loaders need for quantized activations only
 * @param files of a folder that are written anew: config.json without its quantization_config
 * @param isPlain whether nothing is quantized any more; false for a checkpoint that is left as it
 *     is
 */
record Dequantized(
    Checkpoint view, List<TensorInfo> tensors, Map<String, byte[]> files, boolean isPlain) {
  private static final List<String> OF_ACTIVATIONS =
      List.of("input_scale", "input_zero_point", "output_scale", "output_zero_point");

  /** The folder's configuration if it says that its weights are quantized. */
  static Optional<ModelConfig> quantizedConfig(Checkpoint input) throws IOException {
    return input instanceof ModelFolder folder
        ? folder.config().filter(ModelConfig::isQuantized)
        : Optional.empty();
  }

  /**
   * @throws CheckpointException if the weights are quantized in a way that cannot be undone here
   */
  static Dequantized of(Checkpoint input) throws IOException {
    Optional<ModelConfig> config =
        input instanceof ModelFolder folder ? folder.config() : Optional.empty();
    Optional<String> method = config.flatMap(ModelConfig::quantMethod);
    if (method.isPresent() && !method.get().equals("compressed-tensors")) {
      throw new CheckpointException(
          Messages.quote(config.get().path())
              + " says that the weights are quantized by "
              + Messages.quote(method.get())
              + ", which Sinew does not undo; give the model it was made from");
    }
    // Closed with the input.
    @SuppressWarnings("resource")
    Checkpoint view = Decoding.view(input, config.flatMap(ModelConfig::dtype).orElse(null));
    Optional<String> sign = QuantizedTensor.signOfQuantization(view);
    if (sign.isPresent()) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + " cannot be dequantized: tensor "
              + Messages.quote(sign.get())
              + " is stored in a way that Sinew does not read; give the model it was made from");
    }
    List<TensorInfo> tensors = new ArrayList<>();
    for (TensorInfo tensor : view.tensors().values()) {
      if (!isOfActivations(input, view, tensor.name())) {
        tensors.add(tensor);
      }
    }
    boolean anew = config.isPresent() && config.get().isQuantized();
    return new Dequantized(
        view,
        tensors,
        anew ? Map.of(ModelConfig.FILE_NAME, config.get().withoutQuantization()) : Map.of(),
        true);
  }

  private static boolean isOfActivations(Checkpoint input, Checkpoint view, String name) {
    int dot = name.lastIndexOf('.') + 1;
    String weight = name.substring(0, dot) + "weight";
    return OF_ACTIVATIONS.contains(name.substring(dot))
        && view.tensors().containsKey(weight)
        && input.tensors().containsKey(weight + "_scale")
        && !view.tensors().containsKey(weight + "_scale");
  }
}
