package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import java.io.IOException;
import java.io.Writer;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** The JSON that commands print: indented, in ASCII, and without NaN or infinity. */
final class Json {
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .enable(JsonWriteFeature.ESCAPE_NON_ASCII)
          .disable(StreamWriteFeature.AUTO_CLOSE_TARGET)
          .build();

  private Json() {}

  /** A generator whose closing ends the document with a line feed and leaves the writer open. */
  static JsonGenerator to(Writer writer) throws IOException {
    JsonGenerator generator = FACTORY.createGenerator(writer);
    generator.useDefaultPrettyPrinter();
    return generator;
  }

  /** A number; null for NaN and infinity, which JSON does not have. */
  static void number(JsonGenerator json, String name, double value) throws IOException {
    if (Double.isFinite(value)) {
      json.writeNumberField(name, value);
    } else {
      json.writeNullField(name);
    }
  }

  static void numbers(JsonGenerator json, String name, List<Long> values) throws IOException {
    json.writeArrayFieldStart(name);
    for (long value : values) {
      json.writeNumber(value);
    }
    json.writeEndArray();
  }

  static void strings(JsonGenerator json, String name, Collection<String> values)
      throws IOException {
    json.writeArrayFieldStart(name);
    for (String value : values) {
      json.writeString(value);
    }
    json.writeEndArray();
  }

  static void strings(JsonGenerator json, String name, Map<String, String> values)
      throws IOException {
    json.writeObjectFieldStart(name);
    for (Map.Entry<String, String> entry : values.entrySet()) {
      json.writeStringField(entry.getKey(), entry.getValue());
    }
    json.writeEndObject();
  }
}
