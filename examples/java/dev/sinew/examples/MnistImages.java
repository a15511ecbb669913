package dev.sinew.examples;

import dev.sinew.Tensor;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;

/**
 * The 10,000 test images of MNIST and their labels, from the files t10k-images-idx3-ubyte.gz and
 * t10k-labels-idx1-ubyte.gz of a folder.
 */
public final class MnistImages {
  /** Bytes of an image. */
  private static final int PIXELS = 28 * 28;

  private static final int IMAGES_MAGIC = 0x803;
  private static final int LABELS_MAGIC = 0x801;

  private final byte[] pixels;
  private final byte[] labels;

  private MnistImages(byte[] pixels, byte[] labels) {
    this.pixels = pixels;
    this.labels = labels;
  }

  /**
   * @throws IOException if a file cannot be read or is not what its name says
   */
  public static MnistImages read(Path folder) throws IOException {
    byte[] pixels = read(folder.resolve("t10k-images-idx3-ubyte.gz"), IMAGES_MAGIC, PIXELS);
    byte[] labels = read(folder.resolve("t10k-labels-idx1-ubyte.gz"), LABELS_MAGIC, 1);
    if (pixels.length / PIXELS != labels.length) {
      throw new IOException("'" + folder + "' has images and labels of different numbers");
    }
    return new MnistImages(pixels, labels);
  }

  private static byte[] read(Path file, int magic, int size) throws IOException {
    // Large pieces: a JVM that checks JNI copies the whole array for each of them.
    try (DataInputStream in =
        new DataInputStream(new GZIPInputStream(Files.newInputStream(file), 1 << 16))) {
      int found = in.readInt();
      int count = in.readInt();
      if (found != magic || count < 0 || count > 1 << 20) {
        throw new IOException("'" + file + "' is not an IDX file of MNIST");
      }
      if (magic == IMAGES_MAGIC) {
        in.readLong(); // rows and columns
      }
      byte[] bytes = new byte[count * size];
      in.readFully(bytes);
      return bytes;
    }
  }

  /** The number of images. */
  public int count() {
    return labels.length;
  }

  /** The digit that an image shows. */
  public int label(int index) {
    return labels[index];
  }

  /** Fills a tensor with images from {@code first} on, normalised as in training. */
  void fill(Tensor target, int first) {
    target.withBuffer(
        0,
        (int) target.byteSize(),
        values -> {
          for (int i = first * PIXELS; values.hasRemaining(); i++) {
            values.putFloat(((pixels[i] & 255) / 255f - 0.1307f) / 0.3081f);
          }
        });
  }
}
