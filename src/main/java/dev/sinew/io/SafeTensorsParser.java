package dev.sinew.io;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads and checks the header of a safetensors file.
 *
 * <p>The checks are those of the reference implementation, and the three of its specification that
 * it leaves out: the header begins with '{', and neither tensors nor metadata have a key twice. As
 * there, unknown keys in a tensor's entry are ignored.
 */
final class SafeTensorsParser {
  private static final Map<String, DType> DTYPES = new LinkedHashMap<>();

  static {
    for (DType dtype : DType.values()) {
      DTYPES.put(dtype.name(), dtype);
    }
  }

  /** What a tensor takes until the header is checked, besides its name and dimensions. */
  private static final int TENSOR_COST = 400;

  private static final int DIMENSION_COST = 32;
  private static final int METADATA_COST = 150;

  /** A tensor with the place of its data, relative to the end of the header. */
  private record Entry(String name, DType dtype, List<Long> shape, long begin, long end) {
    String ofShapeAndType() {
      return " of shape " + Messages.brief(shape.toString()) + " and dtype " + dtype;
    }
  }

  private final InputFile file;
  private final HeapBudget budget;
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private Map<String, String> metadata;

  private SafeTensorsParser(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
  }

  /**
   * Reads the header, using memory in proportion to its size.
   *
   * @throws CheckpointException if it is wrong in any way, or needs more heap than {@link
   *     HeapBudget} allows
   */
  static SafeTensorsHeader parse(InputFile file, HeapBudget budget) throws CheckpointException {
    return new SafeTensorsParser(file, budget).parse();
  }

  private SafeTensorsHeader parse() throws CheckpointException {
    long length = headerLength();
    long dataStart = SafeTensorsHeader.LENGTH_BYTES + length;
    StrictJson.read(
        file,
        SafeTensorsHeader.LENGTH_BYTES,
        dataStart,
        "its header",
        budget,
        this::readHeader,
        this::damaged);
    return validate(dataStart);
  }

  private void charge(long cost, String... texts) throws CheckpointException {
    for (String text : texts) {
      cost += 2L * text.length();
    }
    budget.charge(cost);
  }

  private long headerLength() throws CheckpointException {
    if (file.size() < SafeTensorsHeader.LENGTH_BYTES) {
      throw damaged("it has only " + file.size() + " bytes");
    }
    ByteBuffer start = ByteBuffer.allocate(SafeTensorsHeader.LENGTH_BYTES);
    file.read(0, start, "the header");
    long length = start.order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    if (length < 0 || length > SafeTensorsHeader.MAX_BYTES) {
      throw damaged(
          "its header would take "
              + Long.toUnsignedString(length)
              + " bytes, more than the format's limit of "
              + SafeTensorsHeader.MAX_BYTES);
    }
    if (length > file.size() - SafeTensorsHeader.LENGTH_BYTES) {
      throw damaged(
          "its header takes "
              + length
              + " bytes, but the file ends after "
              + (file.size() - SafeTensorsHeader.LENGTH_BYTES));
    }
    if (length == 0) {
      throw damaged("its header is empty");
    }
    ByteBuffer first = ByteBuffer.allocate(1);
    file.read(SafeTensorsHeader.LENGTH_BYTES, first, "the header");
    if (first.get(0) != '{') {
      throw damaged("its header does not begin with '{'");
    }
    return length;
  }

  private void readHeader(JsonParser json) throws IOException {
    json.nextToken();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String name = json.currentName();
      json.nextToken();
      if (name.equals(SafeTensorsHeader.METADATA)) {
        readMetadata(json);
      } else {
        readTensor(json, name);
      }
    }
    StrictJson.requireEnd(json, "its header", this::damaged);
  }

  private void readMetadata(JsonParser json) throws IOException {
    if (metadata != null) {
      throw damaged("its header has __metadata__ twice");
    }
    metadata = new LinkedHashMap<>();
    if (json.currentToken() == JsonToken.VALUE_NULL) {
      return;
    }
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw damaged("its __metadata__ is not an object");
    }
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      if (json.nextToken() != JsonToken.VALUE_STRING) {
        throw damaged("its metadata " + Messages.quote(key) + " is not a string");
      }
      String value = json.getText();
      if (!StrictJson.isWellFormed(key) || !StrictJson.isWellFormed(value)) {
        throw damaged("its metadata " + Messages.quote(key) + " is not valid Unicode");
      }
      charge(METADATA_COST, key, value);
      if (metadata.putIfAbsent(key, value) != null) {
        throw damaged("its metadata has the key " + Messages.quote(key) + " twice");
      }
    }
  }

  private void readTensor(JsonParser json, String name) throws IOException {
    String tensor = "tensor " + Messages.quote(name);
    if (!StrictJson.isWellFormed(name)) {
      throw damaged("the name of " + tensor + " is not valid Unicode");
    }
    if (json.currentToken() != JsonToken.START_OBJECT) {
      throw damaged("the entry of " + tensor + " is not an object");
    }
    DType dtype = null;
    List<Long> shape = null;
    List<Long> range = null;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.currentName();
      boolean again =
          switch (key) {
            case "dtype" -> dtype != null;
            case "shape" -> shape != null;
            case "data_offsets" -> range != null;
            default -> false;
          };
      if (again) {
        throw damaged("the entry of " + tensor + " has '" + key + "' twice");
      }
      json.nextToken();
      switch (key) {
        case "dtype" -> dtype = readDType(json, tensor);
        case "shape" -> shape = readIntegers(json, "shape", tensor, SafeTensorsHeader.MAX_RANK);
        case "data_offsets" -> range = readIntegers(json, "data_offsets", tensor, 2);
        default -> json.skipChildren();
      }
    }
    if (dtype == null || shape == null || range == null) {
      String missing = dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets";
      throw damaged("the entry of " + tensor + " has no '" + missing + "'");
    }
    if (range.size() != 2) {
      throw damaged("the data_offsets of " + tensor + " are not two numbers");
    }
    charge(TENSOR_COST + (long) DIMENSION_COST * shape.size(), name);
    Entry entry = new Entry(name, dtype, shape, range.get(0), range.get(1));
    if (entries.putIfAbsent(name, entry) != null) {
      throw damaged("its header has " + tensor + " twice");
    }
  }

  private DType readDType(JsonParser json, String tensor) throws IOException {
    if (json.currentToken() != JsonToken.VALUE_STRING) {
      throw damaged("the dtype of " + tensor + " is not a string");
    }
    DType dtype = DTYPES.get(json.getText());
    if (dtype == null) {
      throw damaged(tensor + " has the unknown dtype " + Messages.quote(json.getText()));
    }
    return dtype;
  }

  private List<Long> readIntegers(JsonParser json, String key, String tensor, int limit)
      throws IOException {
    if (json.currentToken() != JsonToken.START_ARRAY) {
      throw damaged("the " + key + " of " + tensor + " is not a list");
    }
    List<Long> integers = new ArrayList<>(4);
    while (json.nextToken() != JsonToken.END_ARRAY) {
      String text = json.getText();
      if (json.currentToken() != JsonToken.VALUE_NUMBER_INT || text.startsWith("-")) {
        throw damaged(
            "the "
                + key
                + " of "
                + tensor
                + " has "
                + Messages.quote(text)
                + " where a non-negative integer belongs");
      }
      if (integers.size() == limit) {
        throw damaged("the " + key + " of " + tensor + " has more than " + limit + " numbers");
      }
      try {
        integers.add(Long.parseLong(text));
      } catch (NumberFormatException e) {
        throw damaged(
            "the "
                + key
                + " of "
                + tensor
                + " has the number "
                + Messages.brief(text)
                + ", which is too large",
            e);
      }
    }
    return integers;
  }

  /** Checks that the tensors tile the rest of the file: no hole, no overlap, nothing after them. */
  private SafeTensorsHeader validate(long dataStart) throws CheckpointException {
    List<Entry> order = new ArrayList<>(entries.values());
    order.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    Map<String, Long> offsets = new LinkedHashMap<>();
    long end = 0;
    for (Entry entry : order) {
      String tensor = "tensor " + Messages.quote(entry.name);
      if (entry.end < entry.begin) {
        throw damaged(tensor + " ends at " + entry.end + ", before it begins at " + entry.begin);
      }
      if (entry.begin < end) {
        throw damaged(
            tensor + " begins at " + entry.begin + ", inside another that ends at " + end);
      }
      if (entry.begin > end) {
        throw damaged("no tensor covers the " + (entry.begin - end) + " bytes before " + tensor);
      }
      TensorInfo info = info(entry, tensor);
      if (entry.end - entry.begin != info.bytes()) {
        throw damaged(
            tensor
                + entry.ofShapeAndType()
                + " takes "
                + info.bytes()
                + " bytes, but its data_offsets span "
                + (entry.end - entry.begin));
      }
      end = entry.end;
      tensors.put(entry.name, info);
      offsets.put(entry.name, dataStart + entry.begin);
    }
    long data = file.size() - dataStart;
    if (data < end) {
      throw damaged(
          "it is cut short: its tensors take "
              + end
              + " bytes, but only "
              + data
              + " follow the header");
    }
    if (data > end) {
      throw damaged((data - end) + " bytes follow its last tensor");
    }
    return new SafeTensorsHeader(tensors, offsets, metadata == null ? Map.of() : metadata);
  }

  private TensorInfo info(Entry entry, String tensor) throws CheckpointException {
    try {
      return new TensorInfo(entry.name, entry.dtype, entry.shape);
    } catch (IllegalArgumentException e) {
      throw damaged(tensor + entry.ofShapeAndType() + " has no valid size in bytes", e);
    }
  }

  private CheckpointException damaged(String why) {
    return damaged(why, null);
  }

  private CheckpointException damaged(String why, Throwable cause) {
    return new CheckpointException(
        Messages.quote(file.path())
            + " is no valid safetensors file: "
            + why
            + "; download or save it again",
        cause);
  }
}
