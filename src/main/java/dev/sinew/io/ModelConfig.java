package dev.sinew.io;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/**
 * The {@code config.json} of a model folder, as Hugging Face's transformers write it: which
 * architecture the weights are for, and how they are quantized. It can be written anew with another
 * {@code quantization_config}; every other character stays as it was. Immutable.
 */
public final class ModelConfig {
  /** The name of the file. */
  public static final String FILE_NAME = "config.json";

  private static final String QUANTIZATION = "quantization_config";

  /** What early writers of compressed-tensors called it. */
  private static final String COMPRESSION = "compression_config";

  /** Labels of large classifiers take a megabyte. */
  private static final int MAX_BYTES = 16 << 20;

  private static final int MAX_ARCHITECTURES = 64;

  /** What a key takes in the set of keys, besides its characters. */
  private static final int KEY_COST = 120;

  private final Path path;
  private final HeapBudget budget;
  private final Set<String> keys = new LinkedHashSet<>();
  private final List<String> architectures = new ArrayList<>();
  private String text;
  private String modelType;
  private DType dtype;
  private DType torchDtype;
  private boolean quantized;
  private String quantMethod;

  private ModelConfig(Path path, HeapBudget budget) {
    this.path = path;
    this.budget = budget;
  }

  /**
   * @throws CheckpointException if this is no JSON object in UTF-8, has a key twice, is larger than
   *     16 MiB, or says in the wrong form what is read here
   */
  static ModelConfig read(InputFile file, HeapBudget budget) throws CheckpointException {
    ModelConfig config = new ModelConfig(file.path(), budget);
    if (file.size() > MAX_BYTES) {
      throw config.damaged(
          "it has " + file.size() + " bytes, more than any configuration (" + MAX_BYTES + ")",
          null);
    }
    StrictJson.read(file, 0, file.size(), "its text", budget, config::readAll, config::damaged);
    byte[] bytes = new byte[(int) file.size()];
    file.read(0, ByteBuffer.wrap(bytes), "the text");
    config.text = new String(bytes, StandardCharsets.UTF_8);
    return config;
  }

  private void readAll(JsonParser json) throws IOException {
    // Python writes NaN and Infinity, and reads them again.
    json.enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS.mappedFeature());
    if (json.nextToken() != JsonToken.START_OBJECT) {
      throw damaged("it is not a JSON object", null);
    }
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      budget.charge(KEY_COST + 2L * key.length());
      if (!keys.add(key)) {
        throw damaged("it has the key " + Messages.quote(key) + " twice", null);
      }
      JsonToken value = json.nextToken();
      switch (key) {
        case "architectures" -> readArchitectures(json, value);
        case "model_type" -> modelType = textOf(json, value);
        case "dtype" -> dtype = dtypeOf(textOf(json, value));
        case "torch_dtype" -> torchDtype = dtypeOf(textOf(json, value));
        case QUANTIZATION, COMPRESSION -> readQuantization(json, value);
        default -> {}
      }
      // Leaves values that are no objects or arrays, or have been read, as they are.
      json.skipChildren();
    }
    StrictJson.requireEnd(json, "its text", this::damaged);
  }

  private void readArchitectures(JsonParser json, JsonToken value) throws IOException {
    if (value == JsonToken.VALUE_NULL) {
      return;
    }
    if (value != JsonToken.START_ARRAY) {
      throw damaged("its architectures are not a list of names", null);
    }
    while (json.nextToken() != JsonToken.END_ARRAY) {
      if (json.currentToken() != JsonToken.VALUE_STRING
          || architectures.size() == MAX_ARCHITECTURES) {
        throw damaged("its architectures are not a list of names", null);
      }
      architectures.add(json.getText());
    }
  }

  private void readQuantization(JsonParser json, JsonToken value) throws IOException {
    if (value == JsonToken.VALUE_NULL) {
      return;
    }
    quantized = true;
    if (value != JsonToken.START_OBJECT) {
      return;
    }
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      boolean method = json.currentName().equals("quant_method");
      JsonToken inner = json.nextToken();
      if (method && inner == JsonToken.VALUE_STRING) {
        quantMethod = json.getText();
      }
      json.skipChildren();
    }
  }

  // The text of a string; null for anything else, which others may know how to read.
  private static String textOf(JsonParser json, JsonToken value) throws IOException {
    return value == JsonToken.VALUE_STRING ? json.getText() : null;
  }

  private static DType dtypeOf(String name) {
    if (name == null) {
      return null;
    }
    return switch (name.toLowerCase(Locale.ROOT).replace("torch.", "")) {
      case "float32", "float" -> DType.F32;
      case "bfloat16" -> DType.BF16;
      case "float16", "half" -> DType.F16;
      default -> null;
    };
  }

  /** The file. */
  public Path path() {
    return path;
  }

  /** The first of {@code architectures}, for example {@code LlamaForCausalLM}. */
  public Optional<String> architecture() {
    return architectures.stream().findFirst();
  }

  /** The {@code model_type}, for example {@code llama}. */
  public Optional<String> modelType() {
    return Optional.ofNullable(modelType);
  }

  /** The type that loaders give the weights: F32, BF16 or F16; empty if none of these is stated. */
  public Optional<DType> dtype() {
    return Optional.ofNullable(dtype != null ? dtype : torchDtype);
  }

  /** Whether there is a {@code quantization_config}. */
  public boolean isQuantized() {
    return quantized;
  }

  /** The {@code quant_method}, for example {@code compressed-tensors}; empty if not stated. */
  public Optional<String> quantMethod() {
    return Optional.ofNullable(quantMethod);
  }

  /**
   * The file with this as its {@code quantization_config}, the last of its keys, in the place of
   * any that there was.
   *
   * @param json an object in JSON
   */
  public byte[] withQuantization(String json) {
    String rest = withoutMembers();
    int end = rest.lastIndexOf('}');
    int last = end;
    while (Character.isWhitespace(rest.charAt(last - 1))) {
      last--;
    }
    String comma = rest.charAt(last - 1) == '{' ? "" : ",";
    String member = "\n  \"" + QUANTIZATION + "\": " + json.strip().replace("\n", "\n  ");
    String whole = rest.substring(0, last) + comma + member + "\n" + rest.substring(end);
    return whole.getBytes(StandardCharsets.UTF_8);
  }

  /** The file without any {@code quantization_config}. */
  public byte[] withoutQuantization() {
    return withoutMembers().getBytes(StandardCharsets.UTF_8);
  }

  private String withoutMembers() {
    JsonMembers members = JsonMembers.of(text, List.copyOf(keys));
    return members.without(Set.of(QUANTIZATION, COMPRESSION));
  }

  private CheckpointException damaged(String why, Throwable cause) {
    return new CheckpointException(
        Messages.quote(path)
            + " is no valid configuration of a model: "
            + why
            + "; download or save it again",
        cause);
  }
}
