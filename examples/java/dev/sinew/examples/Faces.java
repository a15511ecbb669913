package dev.sinew.examples;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.nn.Arena;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import javax.imageio.ImageIO;

/**
 * Finds the faces in an image.
 *
 * <p>{@code examples/run faces MODEL.pth [IMAGE]}; without an image it takes noise, for its speed.
 */
public final class Faces {
  private static final float LIKELY = 0.7f;
  // Two boxes that share more than this part of their area show the same face.
  private static final float SAME = 0.3f;

  private Faces() {}

  /** A face, as parts of the image's width and height. */
  public record Face(float probability, float left, float top, float right, float bottom) {
    private float shared(Face other) {
      float width = Math.min(right, other.right) - Math.max(left, other.left);
      float height = Math.min(bottom, other.bottom) - Math.max(top, other.top);
      float both = Math.max(0, width) * Math.max(0, height);
      return both / (area() + other.area() - both);
    }

    private float area() {
      return (right - left) * (bottom - top);
    }
  }

  /** The likely boxes, the likeliest first, without those that overlap a likelier one. */
  static List<Face> faces(FaceDetector.Detections detections) {
    float[] scores = detections.scores().toFloats();
    float[] boxes = detections.boxes().toFloats();
    List<Face> likely = new ArrayList<>();
    for (int i = 0; 2 * i < scores.length; i++) {
      if (scores[2 * i + 1] >= LIKELY) {
        int at = 4 * i;
        likely.add(
            new Face(scores[2 * i + 1], boxes[at], boxes[at + 1], boxes[at + 2], boxes[at + 3]));
      }
    }
    likely.sort(Comparator.comparing(Face::probability).reversed());
    List<Face> faces = new ArrayList<>();
    for (Face face : likely) {
      if (faces.stream().noneMatch(other -> other.shared(face) > SAME)) {
        faces.add(face);
      }
    }
    return faces;
  }

  // The image in the size, order and range that the detector takes.
  private static float[] pixels(Path file) throws IOException {
    BufferedImage image = ImageIO.read(file.toFile());
    if (image == null) {
      throw new IOException("'" + file + "' is not an image that Java reads");
    }
    int width = FaceDetector.WIDTH;
    int height = FaceDetector.HEIGHT;
    BufferedImage small = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = small.createGraphics();
    graphics.setRenderingHint(
        RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
    graphics.drawImage(image, 0, 0, width, height, null);
    graphics.dispose();
    float[] pixels = new float[3 * width * height];
    for (int i = 0; i < width * height; i++) {
      int color = small.getRGB(i % width, i / width);
      for (int channel = 0; channel < 3; channel++) {
        int value = color >> 8 * (2 - channel) & 255;
        pixels[channel * width * height + i] = (value - 127) / 128f;
      }
    }
    return pixels;
  }

  private static float[] noise() {
    Random random = new Random(1);
    FloatBuffer pixels = FloatBuffer.allocate(3 * FaceDetector.WIDTH * FaceDetector.HEIGHT);
    while (pixels.hasRemaining()) {
      pixels.put((random.nextInt(256) - 127) / 128f);
    }
    return pixels.array();
  }

  /** Prints the faces and the time. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 1 || arguments.length > 2) {
      System.err.println("Usage: examples/run faces MODEL.pth [IMAGE]");
      System.exit(2);
    }
    float[] image = arguments.length == 2 ? pixels(Path.of(arguments[1])) : noise();
    try (FaceDetector detector = new FaceDetector();
        Arena arena = new Arena();
        Tensor input =
            Tensor.allocate(
                Device.cpu(), DType.F32, 1, 3, FaceDetector.HEIGHT, FaceDetector.WIDTH)) {
      try (Checkpoint checkpoint = CheckpointFormat.open(Path.of(arguments[0]))) {
        detector.load(checkpoint);
      }
      input.withBuffer(0, 4 * image.length, buffer -> buffer.asFloatBuffer().put(image));
      faces(detector.forward(input, arena)).forEach(System.out::println);
      double[] seconds = new double[100];
      for (int i = 0; i < seconds.length; i++) {
        arena.reset();
        long start = System.nanoTime();
        detector.forward(input, arena);
        seconds[i] = 1e-9 * (System.nanoTime() - start);
      }
      Arrays.sort(seconds);
      System.out.printf("%.2f ms an image on %s%n", 1e3 * seconds[50], Device.cpu());
    }
  }
}
