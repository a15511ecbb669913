package dev.sinew.io;

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

  SafeTensorsHeader {
    tensors = Collections.unmodifiableMap(tensors);
    offsets = Collections.unmodifiableMap(offsets);
    metadata = Collections.unmodifiableMap(metadata);
  }
}
