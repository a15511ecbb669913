package dev.sinew.pass;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Quantize.Granularity;
import java.io.IOException;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * How a model is quantized for loaders of compressed-tensors (vLLM, transformers): which layers,
 * and the {@code quantization_config} that tells them so.
 *
 * <pre>{@code
 * ModelConfig config = folder.config().orElseThrow();
 * LinearLayers layers = LinearLayers.of(config.architecture().orElse(null), null).orElseThrow();
 * Quantize quantize = Quantize.int4(128).in(QuantizedLayout.COMPRESSED_TENSORS);
 * CompressedTensors plan =
 *     CompressedTensors.plan(folder, quantize, Targets.byDefault().of(layers));
 * byte[] text = config.withQuantization(plan.configuration());
 * Optimizer.optimize(
 *     folder,
 *     List.of(plan.quantize()),
 *     new Optimizer.Options(plan.targets(), 4, false, Optimizer.Progress.NONE),
 *     outputs -> ModelFolder.create(out, folder, outputs, Map.of("config.json", text), false));
 * }</pre>
 *
 * @param quantize the pass
 * @param targets which tensors it takes
 * @param ignore Linear layers that are not quantized, as the configuration lists them
 * @param perChannel layers with a scale for each channel because the group size does not divide
 *     their rows
 * @param notes sentences for the user about what loaders may not like
 */
public record CompressedTensors(
    Quantize quantize,
    Targets targets,
    List<String> ignore,
    List<String> perChannel,
    List<String> notes) {
  public CompressedTensors {
    ignore = List.copyOf(ignore);
    perChannel = List.copyOf(perChannel);
    notes = List.copyOf(notes);
  }

  /**
   * Chooses the layers of a model.
   *
   * @param input the model; its data is not read
   * @param quantize in the layout {@link QuantizedLayout#COMPRESSED_TENSORS}
   * @param targets of {@link LinearLayers}
   * @throws CheckpointException if the input is quantized already, no layer is left, or the name of
   *     one would be taken for a pattern
   * @throws IllegalArgumentException if the layout or the targets are others
   */
  public static CompressedTensors plan(Checkpoint input, Quantize quantize, Targets targets)
      throws IOException {
    if (quantize.layout() != QuantizedLayout.COMPRESSED_TENSORS || targets.layers() == null) {
      throw new IllegalArgumentException(
          "the format compressed-tensors needs that layout, and targets of Linear layers");
    }
    Optimizer.requireUnquantized(input);
    Set<String> quantized = new LinkedHashSet<>();
    Set<String> ignore = new LinkedHashSet<>();
    List<String> perChannel = new ArrayList<>();
    long divisors = 0; // the greatest common one of all rows' lengths
    // The view shows tensors stored with a bitmap as they are; closing it would close the input.
    @SuppressWarnings("resource")
    Collection<TensorInfo> tensors = Decoding.dense(input).tensors().values();
    for (TensorInfo tensor : tensors) {
      if (targets.reasonToSkip(tensor).isEmpty()) {
        String module = moduleOf(input, tensor);
        quantized.add(module);
        divisors = TileGrid.greatestCommonDivisor(divisors, tensor.cols());
        if (quantize.forTensor(tensor) != quantize) {
          perChannel.add(module);
        }
      } else if (LinearLayers.mayBeLinear(tensor)) {
        ignore.add(moduleOf(input, tensor));
      }
    }
    if (quantized.isEmpty()) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + " has no weights of Linear layers to quantize, by their names; state them with"
              + " --targets, for example --targets '*_proj.weight'");
    }
    ignore.addAll(targets.layers().besides(input.tensors().keySet()));
    ignore.removeAll(quantized);
    return new CompressedTensors(
        quantize,
        targets,
        List.copyOf(ignore),
        perChannel,
        notes(quantize, quantized, ignore, perChannel, divisors));
  }

  private static String moduleOf(Checkpoint input, TensorInfo tensor) throws CheckpointException {
    String module = LinearLayers.module(tensor.name());
    if (module.startsWith("re:")) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + " has a tensor "
              + Messages.quote(tensor.name())
              + ", whose name loaders of compressed-tensors would take for a pattern of names; leave"
              + " out --format compressed-tensors, or rename it");
    }
    return module;
  }

  private static List<String> notes(
      Quantize quantize,
      Set<String> quantized,
      Set<String> ignore,
      List<String> perChannel,
      long divisors) {
    List<String> notes = new ArrayList<>();
    List<String> split = LinearLayers.split(quantized, ignore);
    if (!split.isEmpty()) {
      notes.add(
          Messages.quote(split.get(0))
              + (split.size() > 1 ? " and " + (split.size() - 1) + " others are" : " is")
              + " not quantized, but layers are that vLLM computes together with"
              + (split.size() > 1 ? " them" : " it")
              + "; it loads all of them quantized or none");
    }
    if (!perChannel.isEmpty()) {
      notes.add(
          "groups of "
              + quantize.groupSize()
              + " do not divide the rows of "
              + Messages.quote(perChannel.get(0))
              + (perChannel.size() > 1 ? " and " + (perChannel.size() - 1) + " others" : "")
              + "; there each channel has one scale"
              + (divisors % 32 == 0
                  ? ", but --granularity group=" + (divisors % 64 == 0 ? 64 : 32) + " divides all"
                  : ""));
    }
    return notes;
  }

  /** The value of {@code quantization_config}, an object in JSON. */
  public String configuration() {
    StringWriter text = new StringWriter();
    DefaultPrettyPrinter printer =
        new DefaultPrettyPrinter(
            Separators.createDefaultInstance()
                .withObjectFieldValueSpacing(Separators.Spacing.AFTER));
    printer.indentArraysWith(DefaultIndenter.SYSTEM_LINEFEED_INSTANCE.withLinefeed("\n"));
    printer.indentObjectsWith(DefaultIndenter.SYSTEM_LINEFEED_INSTANCE.withLinefeed("\n"));
    try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
      json.setPrettyPrinter(printer);
      write(json);
    } catch (IOException e) {
      throw new IllegalStateException("writing to memory failed", e);
    }
    return text.toString();
  }

  private String format() {
    return switch (quantize.scheme().shortName()) {
      case "int8" -> "int-quantized";
      case "fp8" -> "float-quantized";
      default -> "pack-quantized";
    };
  }

  private void write(JsonGenerator json) throws IOException {
    json.writeStartObject();
    json.writeStringField("quant_method", "compressed-tensors");
    json.writeStringField("format", format());
    json.writeStringField("quantization_status", "compressed");
    json.writeNullField("global_compression_ratio");
    json.writeNullField("kv_cache_scheme");
    writeNames(json, "ignore", ignore);
    json.writeObjectFieldStart("config_groups");
    writeGroup(json, "group_0", List.of("Linear"), quantize);
    if (!perChannel.isEmpty()) {
      // Exact names come before classes; vLLM looks for those of the layers that it has fused.
      Set<String> names = new LinkedHashSet<>(perChannel);
      names.addAll(LinearLayers.fusedNames(perChannel));
      Quantize channels = Quantize.of(quantize.scheme(), "channel", "minmax").in(quantize.layout());
      writeGroup(json, "group_1", names, channels);
    }
    json.writeEndObject();
    json.writeEndObject();
  }

  private static void writeNames(JsonGenerator json, String field, Collection<String> names)
      throws IOException {
    json.writeArrayFieldStart(field);
    for (String name : names) {
      json.writeString(name);
    }
    json.writeEndArray();
  }

  private static void writeGroup(
      JsonGenerator json, String name, Collection<String> targets, Quantize weights)
      throws IOException {
    json.writeObjectFieldStart(name);
    writeNames(json, "targets", targets);
    boolean groups = weights.granularity() == Granularity.GROUP;
    String strategy =
        switch (weights.granularity()) {
          case TENSOR -> "tensor";
          case CHANNEL -> "channel";
          case GROUP -> "group";
        };
    writeArguments(json, "weights", weights, strategy, groups ? weights.groupSize() : 0, false);
    if (weights.scheme().bits() == 8) {
      // Weights of 8 bits are multiplied in 8 bits: loaders quantize each token's activations.
      writeArguments(json, "input_activations", weights, "token", 0, true);
    } else {
      json.writeNullField("input_activations");
    }
    json.writeNullField("output_activations");
    json.writeEndObject();
  }

  private static void writeArguments(
      JsonGenerator json,
      String field,
      Quantize weights,
      String strategy,
      int groupSize,
      boolean dynamic)
      throws IOException {
    json.writeObjectFieldStart(field);
    json.writeNumberField("num_bits", weights.scheme().bits());
    json.writeStringField("type", weights.scheme().isInteger() ? "int" : "float");
    json.writeBooleanField("symmetric", true);
    json.writeStringField("strategy", strategy);
    if (groupSize > 0) {
      json.writeNumberField("group_size", groupSize);
    } else {
      json.writeNullField("group_size");
    }
    json.writeNullField("block_structure");
    json.writeBooleanField("dynamic", dynamic);
    json.writeNullField("actorder");
    json.writeEndObject();
  }
}
