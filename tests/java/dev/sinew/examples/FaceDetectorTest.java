package dev.sinew.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.nn.Arena;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The detector built from layers, beside ONNX Runtime on the file its authors exported. */
class FaceDetectorTest {
  private static final long[] SHAPE = {1, 3, FaceDetector.HEIGHT, FaceDetector.WIDTH};
  private static final int PIXELS = 3 * FaceDetector.HEIGHT * FaceDetector.WIDTH;

  private static Path data(String name) {
    Path path = Path.of(System.getProperty("sinew.data", "../shared/data"), "face-detector", name);
    assumeTrue(Files.exists(path), "skipped: there is no " + path + "; set -Dsinew.data");
    return path;
  }

  private static FaceDetector load() throws IOException {
    FaceDetector detector = new FaceDetector();
    try (Checkpoint checkpoint = CheckpointFormat.open(data("rfb-320.pth"))) {
      detector.load(checkpoint);
    }
    return detector;
  }

  // Noise, blurred so that it has edges of all sizes, within the range of pixels.
  private static float[] image(long seed) {
    Random random = new Random(seed);
    float[] values = new float[PIXELS];
    int cell = 1 << seed % 6;
    float[] coarse = new float[PIXELS];
    for (int i = 0; i < PIXELS; i++) {
      coarse[i] = random.nextInt(256);
    }
    for (int i = 0; i < PIXELS; i++) {
      int x = i % FaceDetector.WIDTH / cell * cell;
      int y = i / FaceDetector.WIDTH / cell * cell;
      values[i] = (coarse[y * FaceDetector.WIDTH + x] - 127) / 128;
    }
    return values;
  }

  @Test
  @Timeout(120)
  void agreesWithOnnxRuntime() throws IOException, OrtException {
    assumeFalse(
        ManagementFactory.getRuntimeMXBean().getInputArguments().contains("-Xcheck:jni"),
        "skipped: the JVM would judge how ONNX Runtime uses JNI");
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (FaceDetector detector = load();
        Arena arena = new Arena();
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        OrtSession session = session(environment, options)) {
      double likeliest = 0;
      for (long seed = 0; seed < 6; seed++) {
        float[] image = image(seed);
        try (Tensor input = Tensor.of(image, SHAPE);
            OnnxTensor same = OnnxTensor.createTensor(environment, FloatBuffer.wrap(image), SHAPE);
            OrtSession.Result expected = session.run(Map.of("input", same))) {
          FaceDetector.Detections found = detector.forward(input, arena);
          assertClose(expected, "scores", found.scores(), seed);
          assertClose(expected, "boxes", found.boxes(), seed);
          float[] scores = found.scores().toFloats();
          for (int i = 1; i < scores.length; i += 2) {
            likeliest = Math.max(likeliest, scores[i]);
          }
          arena.reset();
        }
      }
      System.out.println("the likeliest face in noise: " + likeliest);
    }
  }

  private static OrtSession session(OrtEnvironment environment, OrtSession.SessionOptions options)
      throws OrtException {
    // Its warnings are about how the file was exported.
    options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
    return environment.createSession(data("rfb-320.onnx").toString(), options);
  }

  private static void assertClose(OrtSession.Result expected, String name, Tensor found, long seed)
      throws OrtException {
    OnnxTensor tensor = (OnnxTensor) expected.get(name).orElseThrow();
    assertArrayEquals(tensor.getInfo().getShape(), found.shape());
    FloatBuffer values = tensor.getFloatBuffer();
    float[] floats = found.toFloats();
    for (int i = 0; i < floats.length; i++) {
      assertEquals(values.get(i), floats[i], 1e-4, name + " " + i + ", seed " + seed);
    }
  }

  @Test
  void imagesOfABatchDoNotAffectEachOther() throws IOException {
    try (FaceDetector detector = load();
        Arena arena = new Arena();
        Tensor batch = Tensor.allocate(Device.cpu(), DType.F32, 3, 3, SHAPE[2], SHAPE[3])) {
      float[][] scores = new float[3][];
      float[][] boxes = new float[3][];
      for (int i = 0; i < 3; i++) {
        float[] image = image(i + 2);
        long at = 4L * i * PIXELS;
        batch.withBuffer(at, 4 * PIXELS, buffer -> buffer.asFloatBuffer().put(image));
        try (Tensor one = Tensor.of(image, SHAPE)) {
          FaceDetector.Detections found = detector.forward(one, arena);
          scores[i] = found.scores().toFloats();
          boxes[i] = found.boxes().toFloats();
          arena.reset();
        }
      }
      FaceDetector.Detections found = detector.forward(batch, arena);
      for (int i = 0; i < 3; i++) {
        try (Tensor ofOne = found.scores().slice(i, i + 1);
            Tensor boxesOfOne = found.boxes().slice(i, i + 1)) {
          assertArrayEquals(scores[i], ofOne.toFloats(), 1e-5f);
          assertArrayEquals(boxes[i], boxesOfOne.toFloats(), 1e-5f);
        }
      }
      long bytes = arena.bytes();
      arena.reset();
      detector.forward(batch, arena);
      assertEquals(bytes, arena.bytes());
      assertTrue(bytes < 64 << 20, bytes + " bytes of activations");
      try (Tensor wrong = Tensor.allocate(Device.cpu(), DType.F32, 1, 3, 320, 240)) {
        assertThrows(IllegalArgumentException.class, () -> detector.forward(wrong, arena));
      }
    }
  }
}
