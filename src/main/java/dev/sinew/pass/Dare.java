package dev.sinew.pass;

import dev.sinew.Ops;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** DARE: task vectors lose random elements and are summed. */
final class Dare implements TensorMerge {
  private final Merge merge;
  private final float[] coefficients;
  private final long[] streams;

  Dare(Merge merge, MergeTensor tensor) {
    this.merge = merge;
    this.coefficients = merge.coefficients(tensor.models());
    this.streams = new long[tensor.models()];
    for (int model = 0; model < streams.length; model++) {
      streams[model] = stream(tensor.info().name(), model);
    }
  }

  /**
   * Which of the generator's streams belongs to a tensor of a model: the first 8 bytes,
   * little-endian, of the SHA-256 of the tensor's name in UTF-8 and the model's number, from 0, as
   * 4 bytes, little-endian.
   */
  static long stream(String tensor, int model) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(tensor.getBytes(StandardCharsets.UTF_8));
      digest.update(ByteBuffer.allocate(4).putInt(Integer.reverseBytes(model)).flip());
      return Long.reverseBytes(ByteBuffer.wrap(digest.digest()).getLong());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  @Override
  public void apply(MergeTile tile) {
    Ops.mergeDare(
        tile.base(),
        tile.models(),
        coefficients,
        merge.density(),
        merge.seed(),
        streams,
        tile.first(),
        tile.out());
  }
}
