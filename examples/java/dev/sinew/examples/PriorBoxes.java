package dev.sinew.examples;

import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The boxes that a single-shot detector (Liu et al. 2016) starts from, at every pixel of a scale.
 */
final class PriorBoxes {
  private static final int[] STRIDES = {8, 16, 32, 64};
  // Edges of the boxes, in pixels of the image.
  private static final int[][] SIZES = {{10, 16, 24}, {32, 48}, {64, 96}, {128, 192, 256}};
  // What the network's numbers were divided by in training.
  private static final float CENTER = 0.1f;
  private static final float SIZE = 0.2f;

  private final int[] first = new int[SIZES.length + 1];
  // Center x, center y, width and height of each, as parts of the image.
  private final float[] priors;

  PriorBoxes(int width, int height) {
    int[] columns = new int[SIZES.length];
    int[] rows = new int[SIZES.length];
    for (int i = 0; i < SIZES.length; i++) {
      columns[i] = (width + STRIDES[i] - 1) / STRIDES[i];
      rows[i] = (height + STRIDES[i] - 1) / STRIDES[i];
      first[i + 1] = first[i] + columns[i] * rows[i] * SIZES[i].length;
    }
    priors = new float[4 * count()];
    int at = 0;
    for (int i = 0; i < SIZES.length; i++) {
      for (int y = 0; y < rows[i]; y++) {
        for (int x = 0; x < columns[i]; x++) {
          for (int size : SIZES[i]) {
            priors[at++] = clamp((x + 0.5) / columns[i]);
            priors[at++] = clamp((y + 0.5) / rows[i]);
            priors[at++] = clamp((double) size / width);
            priors[at++] = clamp((double) size / height);
          }
        }
      }
    }
  }

  private static float clamp(double value) {
    return (float) Math.min(1, Math.max(0, value));
  }

  /** Of all scales. */
  int count() {
    return first[SIZES.length];
  }

  /** How many come before those of this scale. */
  int first(int scale) {
    return first[scale];
  }

  int perPixel(int scale) {
    return SIZES[scale].length;
  }

  /** Turns the network's differences from the priors, [n, count, 4], into corners of boxes. */
  void decode(Tensor boxes) {
    int bytes = (int) boxes.byteSize();
    if (!boxes.device().isGpu()) {
      boxes.withBuffer(0, bytes, this::decode);
      return;
    }
    ByteBuffer values = ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
    boxes.copyTo(0, values);
    decode(values.rewind());
    boxes.copyFrom(0, values.rewind());
  }

  private void decode(ByteBuffer values) {
    for (int at = 0; at < values.limit(); at += 16) {
      int prior = at / 4 % priors.length;
      float width = (float) Math.exp(values.getFloat(at + 8) * SIZE) * priors[prior + 2];
      float height = (float) Math.exp(values.getFloat(at + 12) * SIZE) * priors[prior + 3];
      float x = values.getFloat(at) * CENTER * priors[prior + 2] + priors[prior];
      float y = values.getFloat(at + 4) * CENTER * priors[prior + 3] + priors[prior + 1];
      values.putFloat(at, x - width / 2);
      values.putFloat(at + 4, y - height / 2);
      values.putFloat(at + 8, x + width / 2);
      values.putFloat(at + 12, y + height / 2);
    }
  }
}
