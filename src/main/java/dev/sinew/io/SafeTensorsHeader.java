package dev.sinew.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamReadConstraints;
import dev.sinew.model.TensorInfo;
import java.util.Collections;
import java.util.Map;

/**
 * The header of a safetensors file: where each tensor lies, and the metadata.
 *
 * @param tensors the tensors in the order of their data
 * @param offsets where each tensor's data begins in the file, in bytes
 * @param metadata the string metadata in the order of the header
 */
record SafeTensorsHeader(
    Map<String, TensorInfo> tensors, Map<String, Long> offsets, Map<String, String> metadata) {
  static final String METADATA = "__metadata__";

  /** The limit of the reference implementation. */
  static final long MAX_BYTES = 100_000_000;

  /**
   * No framework makes tensors of more than 64 dimensions; a bound keeps messages and lists sane.
   */
  static final int MAX_RANK = 1024;

  /** The size of the number that the file begins with, and the alignment of the data. */
  static final int LENGTH_BYTES = 8;

  /**
   * Reads and writes the header.
   *
   * @param maxText characters that a name or another string may have at most when read
   */
  static JsonFactory json(int maxText) {
    return JsonFactory.builder()
        // Tables of names that live as long as the JVM are no place for names from files.
        .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
        .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
        .streamReadConstraints(
            StreamReadConstraints.builder()
                .maxNestingDepth(128)
                .maxNameLength(maxText)
                .maxStringLength(maxText)
                .build())
        .build();
  }

  SafeTensorsHeader {
    tensors = Collections.unmodifiableMap(tensors);
    offsets = Collections.unmodifiableMap(offsets);
    metadata = Collections.unmodifiableMap(metadata);
  }

  /** Whether {@code text} has a UTF-8 form, that is, no half of a surrogate pair stands alone. */
  static boolean isWellFormed(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        boolean pair =
            i + 1 < text.length() && Character.isSurrogatePair(text.charAt(i), text.charAt(i + 1));
        if (!pair) {
          return false;
        }
        i++;
      }
    }
    return true;
  }
}
