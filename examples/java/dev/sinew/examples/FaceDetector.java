package dev.sinew.examples;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.DType;
import dev.sinew.Functional;
import dev.sinew.Tensor;
import dev.sinew.nn.ActivationLayer;
import dev.sinew.nn.Arena;
import dev.sinew.nn.BatchNorm;
import dev.sinew.nn.Conv2d;
import dev.sinew.nn.Layer;
import dev.sinew.nn.Module;
import dev.sinew.nn.Sequential;
import java.util.ArrayList;
import java.util.List;

/**
 * The face detector RFB-320 (github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB): a
 * small MobileNet whose features at four scales each have a head that says, for some prior boxes at
 * every pixel, how likely they hold a face and how the face's box differs from the prior.
 *
 * <p>Images are F32 [n, 3, 240, 320], RGB as (value - 127) / 128.
 */
public final class FaceDetector extends Module {
  /** Width of the images. */
  public static final int WIDTH = 320;

  /** Height of the images. */
  public static final int HEIGHT = 240;

  private static final Conv2dOptions POINT = Conv2dOptions.defaults();
  // Layers of the base network before which features are taken, and the channels they have there.
  private static final int[] TAKEN_AT = {8, 11, 13};
  private static final int[] CHANNELS = {64, 128, 256, 256};

  private final Sequential base;
  private final Sequential extra;
  private final List<Layer> classifiers = new ArrayList<>();
  private final List<Layer> regressors = new ArrayList<>();
  private final PriorBoxes priors = new PriorBoxes(WIDTH, HEIGHT);

  /**
   * What was found, valid until the arena is reset.
   *
   * @param scores F32 [n, priors, 2]: the probabilities of background and face
   * @param boxes F32 [n, priors, 4]: left, top, right, bottom as parts of width and height
   */
  public record Detections(Tensor scores, Tensor boxes) {}

  /** Builds the network, without weights. */
  public FaceDetector() {
    base =
        child(
            "base_net",
            new Sequential(
                entrance(3, 16),
                separable(16, 32, 1),
                separable(32, 32, 2),
                separable(32, 32, 1),
                separable(32, 64, 2),
                separable(64, 64, 1),
                separable(64, 64, 1),
                new ReceptiveFieldBlock(64),
                separable(64, 128, 2),
                separable(128, 128, 1),
                separable(128, 128, 1),
                separable(128, 256, 2),
                separable(256, 256, 1)));
    extra =
        child(
            "extras",
            new Sequential(
                new Sequential(
                    new Conv2d(256, 64, 1),
                    ActivationLayer.relu(),
                    head(64, 256, POINT.stride(2).padding(1)),
                    ActivationLayer.relu())));
    for (int i = 0; i < CHANNELS.length; i++) {
      classifiers.add(child("classification_headers." + i, head(i, 2)));
      regressors.add(child("regression_headers." + i, head(i, 4)));
    }
  }

  private static Layer entrance(int in, int out) {
    Conv2dOptions half = POINT.stride(2).padding(1);
    return new Sequential(
        new Conv2d(in, out, 3, 3, half, false, Activation.NONE),
        new BatchNorm(out),
        ActivationLayer.relu());
  }

  // Each channel for itself, then all channels of each pixel.
  private static Layer separable(int in, int out, int stride) {
    Conv2dOptions depthwise = POINT.stride(stride).padding(1).groups(in);
    return new Sequential(
        new Conv2d(in, in, 3, 3, depthwise, false, Activation.NONE),
        new BatchNorm(in),
        ActivationLayer.relu(),
        new Conv2d(in, out, 1, 1, POINT, false, Activation.NONE),
        new BatchNorm(out),
        ActivationLayer.relu());
  }

  private Layer head(int scale, int numbers) {
    int channels = CHANNELS[scale];
    int out = numbers * priors.perPixel(scale);
    boolean last = scale == CHANNELS.length - 1;
    return last
        ? new Conv2d(channels, out, 3, POINT.padding(1))
        : head(channels, out, POINT.padding(1));
  }

  private static Layer head(int in, int out, Conv2dOptions options) {
    return new Sequential(
        new Conv2d(in, in, 3, options.groups(in)), ActivationLayer.relu(), new Conv2d(in, out, 1));
  }

  /**
   * Finds faces. Safe for use by many threads at once, each with its own arena.
   *
   * @throws IllegalArgumentException if the images are not F32 [n, 3, 240, 320]
   */
  public Detections forward(Tensor images, Arena arena) {
    if (images.rank() != 4 || images.size(2) != HEIGHT || images.size(3) != WIDTH) {
      throw new IllegalArgumentException(
          "the detector takes images of [n, 3, " + HEIGHT + ", " + WIDTH + "], not " + images);
    }
    long n = images.size(0);
    Tensor scores = arena.allocate(DType.F32, n, priors.count(), 2);
    Tensor boxes = arena.allocate(DType.F32, n, priors.count(), 4);
    Tensor x = images;
    int from = 0;
    for (int scale = 0; scale < CHANNELS.length; scale++) {
      boolean inBase = scale < TAKEN_AT.length;
      Tensor features =
          inBase ? base.forward(x, from, TAKEN_AT[scale], arena) : extra.forward(x, arena);
      if (x != images) {
        arena.release(x);
      }
      x = features;
      from = inBase ? TAKEN_AT[scale] : from;
      collect(classifiers.get(scale).forward(x, arena), scores, scale, arena);
      collect(regressors.get(scale).forward(x, arena), boxes, scale, arena);
    }
    arena.release(x);
    Functional.softmax(scores, scores);
    priors.decode(boxes);
    return new Detections(scores, boxes);
  }

  // A head's [n, priors x numbers, height, width] to its place in [n, all priors, numbers].
  private void collect(Tensor head, Tensor all, int scale, Arena arena) {
    long numbers = all.size(2);
    long channels = head.size(1);
    long pixels = head.size(2) * head.size(3);
    for (long image = 0; image < head.size(0); image++) {
      long to = (image * priors.count() + priors.first(scale)) * numbers;
      try (Tensor from = head.view(image * channels * pixels, 1, channels, pixels, 1);
          Tensor part = all.view(to, 1, pixels, channels, 1)) {
        Functional.transposeHeads(from, 0, part);
      }
    }
    arena.release(head);
  }
}
