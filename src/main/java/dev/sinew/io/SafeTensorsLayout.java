package dev.sinew.io;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Where everything goes in a new safetensors file.
 *
 * @param start the bytes before the data of the first tensor: the length and the JSON text
 * @param tensors the tensors in the order of their data
 * @param offsets where each tensor's data begins in the file, in bytes
 */
record SafeTensorsLayout(
    ByteBuffer start, Map<String, TensorInfo> tensors, Map<String, Long> offsets) {
  SafeTensorsLayout {
    tensors = Collections.unmodifiableMap(tensors);
    offsets = Collections.unmodifiableMap(offsets);
  }

  /**
   * Lays tensors out by descending element size, so that each is aligned to its element size
   * without padding, and in the given order among equals. Metadata is sorted by key, so that the
   * bytes do not depend on the kind of map the caller has.
   *
   * @param file the target, for error messages
   * @throws IllegalArgumentException if two tensors have the same name
   * @throws CheckpointException if a tensor or the metadata cannot be stored in this format
   */
  static SafeTensorsLayout of(Path file, List<TensorInfo> tensors, Map<String, String> metadata)
      throws CheckpointException {
    List<TensorInfo> order = new ArrayList<>(tensors);
    order.sort(Comparator.comparingInt((TensorInfo tensor) -> tensor.dtype().bits()).reversed());
    Map<String, TensorInfo> byName = new LinkedHashMap<>();
    Map<String, Long> offsets = new LinkedHashMap<>();
    long end = 0;
    for (TensorInfo tensor : order) {
      requireStorable(file, tensor);
      if (byName.putIfAbsent(tensor.name(), tensor) != null) {
        throw new IllegalArgumentException(
            "two tensors have the name " + Messages.quote(tensor.name()));
      }
      offsets.put(tensor.name(), end);
      if (tensor.bytes() > Long.MAX_VALUE - SafeTensorsHeader.MAX_BYTES - end) {
        throw new CheckpointException(
            "cannot write "
                + Messages.quote(file)
                + ": its tensors together take more than 2^63 bytes");
      }
      end += tensor.bytes();
    }
    ByteBuffer start = start(file, byName, offsets, new TreeMap<>(metadata));
    int dataStart = start.remaining();
    offsets.replaceAll((name, offset) -> dataStart + offset);
    return new SafeTensorsLayout(start, byName, offsets);
  }

  private static void requireStorable(Path file, TensorInfo tensor) throws CheckpointException {
    String why = null;
    if (tensor.name().equals(SafeTensorsHeader.METADATA)) {
      why = "safetensors reserves that name";
    } else if (!StrictJson.isWellFormed(tensor.name())) {
      why = "its name is not valid Unicode";
    } else if (tensor.shape().size() > SafeTensorsHeader.MAX_RANK) {
      why = "it has more than " + SafeTensorsHeader.MAX_RANK + " dimensions";
    }
    if (why != null) {
      throw new CheckpointException(
          "cannot write tensor "
              + Messages.quote(tensor.name())
              + " to "
              + Messages.quote(file)
              + ": "
              + why);
    }
  }

  private static ByteBuffer start(
      Path file,
      Map<String, TensorInfo> tensors,
      Map<String, Long> offsets,
      Map<String, String> metadata)
      throws CheckpointException {
    HeaderBytes bytes = new HeaderBytes();
    try (JsonGenerator json = StrictJson.factory(0).createGenerator(bytes)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(SafeTensorsHeader.METADATA);
        for (Map.Entry<String, String> entry : metadata.entrySet()) {
          requireWellFormed(file, entry);
          json.writeStringField(entry.getKey(), entry.getValue());
        }
        json.writeEndObject();
      }
      for (TensorInfo tensor : tensors.values()) {
        long begin = offsets.get(tensor.name());
        json.writeObjectFieldStart(tensor.name());
        json.writeStringField("dtype", tensor.dtype().name());
        json.writeFieldName("shape");
        json.writeArray(tensor.dimensions(), 0, tensor.shape().size());
        json.writeFieldName("data_offsets");
        json.writeArray(new long[] {begin, begin + tensor.bytes()}, 0, 2);
        json.writeEndObject();
        // Here and not only at the end, or a model of millions of tensors would first take memory.
        requireWithinLimit(file, bytes);
      }
      json.writeEndObject();
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException("cannot write the header of " + Messages.quote(file), e);
    }
    while (bytes.size() % SafeTensorsHeader.LENGTH_BYTES != 0) {
      bytes.write(' ');
    }
    requireWithinLimit(file, bytes);
    long length = bytes.size() - SafeTensorsHeader.LENGTH_BYTES;
    return bytes.buffer().putLong(0, length).asReadOnlyBuffer();
  }

  private static void requireWithinLimit(Path file, HeaderBytes bytes) throws CheckpointException {
    if (bytes.size() - SafeTensorsHeader.LENGTH_BYTES > SafeTensorsHeader.MAX_BYTES) {
      throw new CheckpointException(
          "cannot write "
              + Messages.quote(file)
              + ": its header would take more than the format's limit of "
              + SafeTensorsHeader.MAX_BYTES
              + " bytes");
    }
  }

  /** Bytes that are handed out without a copy, after room for the length of the header. */
  private static final class HeaderBytes extends ByteArrayOutputStream {
    HeaderBytes() {
      write(new byte[SafeTensorsHeader.LENGTH_BYTES], 0, SafeTensorsHeader.LENGTH_BYTES);
    }

    ByteBuffer buffer() {
      return ByteBuffer.wrap(buf, 0, count).order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  private static void requireWellFormed(Path file, Map.Entry<String, String> metadata)
      throws CheckpointException {
    if (!StrictJson.isWellFormed(metadata.getKey())
        || !StrictJson.isWellFormed(metadata.getValue())) {
      throw new CheckpointException(
          "cannot write the metadata "
              + Messages.quote(metadata.getKey())
              + " to "
              + Messages.quote(file)
              + ": it is not valid Unicode");
    }
  }
}
