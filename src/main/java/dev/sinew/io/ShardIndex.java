package dev.sinew.io;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.OutputStream;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * The index of a model in several files, as Hugging Face's {@code save_pretrained} writes it: a
 * JSON object whose {@code weight_map} says in which file each tensor is, and whose {@code
 * metadata} has the {@code total_size} of all tensors in bytes, which is written but not believed.
 */
final class ShardIndex {
  private static final String WEIGHT_MAP = "weight_map";
  private static final String METADATA = "metadata";

  /** Ten million tensors. Memory is bounded by the budget, which an index meets before this. */
  private static final long MAX_BYTES = 1L << 30;

  /** What an entry of the map takes until the shards are read, besides its name. */
  private static final int ENTRY_COST = 120;

  private final InputFile file;
  private final HeapBudget budget;
  private final String ownName;

  /** Each file's name once, so that a million tensors do not hold a million copies. */
  private final Map<String, String> fileNames = new HashMap<>();

  private Map<String, String> weightMap;

  private ShardIndex(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
    this.ownName = file.path().getFileName().toString();
  }

  /**
   * Reads an index.
   *
   * @return the file of each tensor, a plain name without separators, in the order of the index
   * @throws CheckpointException if it is no index, has a key twice, needs more heap than the budget
   *     allows, or names a file that cannot be a shard
   */
  static Map<String, String> read(InputFile file, HeapBudget budget) throws CheckpointException {
    ShardIndex index = new ShardIndex(file, budget);
    if (file.size() > MAX_BYTES) {
      throw index.damaged(
          "it has " + file.size() + " bytes, more than any index (" + MAX_BYTES + ")", null);
    }
    StrictJson.read(file, 0, file.size(), "its text", budget, index::readAll, index::damaged);
    if (index.weightMap == null || index.weightMap.isEmpty()) {
      throw index.damaged("its weight_map is missing or empty", null);
    }
    return index.weightMap;
  }

  private void readAll(JsonParser json) throws IOException {
    if (json.nextToken() != JsonToken.START_OBJECT) {
      throw damaged("it is not a JSON object", null);
    }
    Set<String> keys = new HashSet<>();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      budget.charge(ENTRY_COST + 2L * key.length());
      if (!keys.add(key)) {
        throw damaged("it has the key " + Messages.quote(key) + " twice", null);
      }
      json.nextToken();
      if (key.equals(WEIGHT_MAP)) {
        readWeightMap(json);
      } else if (key.equals(METADATA)) {
        readMetadata(json);
      } else {
        json.skipChildren();
      }
    }
    StrictJson.requireEnd(json, "its text", this::damaged);
  }

  private void readMetadata(JsonParser json) throws IOException {
    if (json.currentToken() == JsonToken.VALUE_NULL) {
      return;
    }
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw damaged("its metadata is not an object", null);
    }
    Set<String> keys = new HashSet<>();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      budget.charge(ENTRY_COST + 2L * key.length());
      if (!keys.add(key)) {
        throw damaged("its metadata has the key " + Messages.quote(key) + " twice", null);
      }
      json.nextToken();
      json.skipChildren();
    }
  }

  private void readWeightMap(JsonParser json) throws IOException {
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw damaged("its weight_map is not an object", null);
    }
    weightMap = new LinkedHashMap<>();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String tensor = json.currentName();
      if (json.nextToken() != JsonToken.VALUE_STRING) {
        throw damaged("its weight_map has no file name for tensor " + Messages.quote(tensor), null);
      }
      budget.charge(ENTRY_COST + 2L * tensor.length());
      if (weightMap.putIfAbsent(tensor, fileName(json.getText(), tensor)) != null) {
        throw damaged("its weight_map has tensor " + Messages.quote(tensor) + " twice", null);
      }
    }
  }

  private String fileName(String name, String tensor) throws CheckpointException {
    String known = fileNames.get(name);
    if (known != null) {
      return known;
    }
    String where = "its weight_map puts tensor " + Messages.quote(tensor) + " into ";
    if (name.equals(ownName)) {
      throw damaged(where + "the index itself", null);
    }
    // A shard lies beside its index: whatever leads elsewhere was made to read other files.
    if (!ModelFiles.isPlainName(name)) {
      throw damaged(
          where + Messages.quote(name) + ", which is not the name of a file beside the index",
          null);
    }
    budget.charge(ENTRY_COST + 2L * name.length());
    fileNames.put(name, name);
    return name;
  }

  private CheckpointException damaged(String why, Throwable cause) {
    return new CheckpointException(
        Messages.quote(file.path())
            + " is no valid index of a model: "
            + why
            + "; download or save it again",
        cause);
  }

  /**
   * Writes an index.
   *
   * @param tensors the names in their order
   * @param fileOf the name of each tensor's file
   */
  static void write(
      OutputStream out, String[] tensors, UnaryOperator<String> fileOf, long totalSize)
      throws IOException {
    try (JsonGenerator json = StrictJson.factory(0).createGenerator(out)) {
      json.useDefaultPrettyPrinter();
      json.writeStartObject();
      json.writeObjectFieldStart(METADATA);
      json.writeNumberField("total_size", totalSize);
      json.writeEndObject();
      json.writeObjectFieldStart(WEIGHT_MAP);
      for (String tensor : tensors) {
        json.writeStringField(tensor, fileOf.apply(tensor));
      }
      json.writeEndObject();
      json.writeEndObject();
      json.writeRaw('\n');
    }
  }
}
