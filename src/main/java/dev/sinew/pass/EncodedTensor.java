package dev.sinew.pass;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Set;

/**
 * A tensor that a checkpoint stores in some other form than its plain elements: as integers with
 * scales, say. {@link Decoding#view} shows the tensor itself. Safe for use by many threads.
 */
interface EncodedTensor {
  /** The tensor that is shown. */
  TensorInfo logical();

  /** The stored tensor in whose place the logical one is shown. */
  String anchor();

  /** All stored tensors that make up this one, the anchor included; they are hidden. */
  Set<String> parts();

  /**
   * Decodes bytes of the logical tensor from {@code byteOffset} on until {@code target} is full;
   * the range lies inside it.
   */
  void read(Checkpoint source, long byteOffset, ByteBuffer target) throws IOException;
}
