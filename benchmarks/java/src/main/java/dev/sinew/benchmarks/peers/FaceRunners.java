package dev.sinew.benchmarks.peers;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.sinew.Tensor;
import dev.sinew.examples.FaceDetector;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.nn.Arena;
import dev.sinew.nn.LoadOptions;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The face detector: ours from rfb-320.pth, and ONNX Runtime with rfb-320.onnx. */
final class FaceRunners {
  private FaceRunners() {}

  static void add(List<NetworkRunner> runners, Path folder, Tensor x)
      throws IOException, OrtException {
    runners.add(new Ours(folder.resolve("rfb-320.pth"), x));
    runners.add(new Onnx(folder.resolve("rfb-320.onnx"), x));
  }

  private static final class Ours implements NetworkRunner {
    private final FaceDetector detector = new FaceDetector();
    private final Arena arena;
    private final Tensor x;
    private float[] scores;

    Ours(Path file, Tensor x) throws IOException {
      this.x = x;
      arena = new Arena(x.device());
      try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
        detector.load(checkpoint, LoadOptions.strict().on(x.device()));
      }
    }

    @Override
    public String name() {
      return "Sinew F32";
    }

    @Override
    public boolean ours() {
      return true;
    }

    @Override
    public void run() {
      detector.forward(x, arena);
      arena.reset();
    }

    @Override
    public float[] result() {
      if (scores == null) {
        scores = detector.forward(x, arena).scores().toFloats();
        arena.reset();
      }
      return scores;
    }

    @Override
    public void close() {
      detector.close();
      arena.close();
    }
  }

  /** Any ONNX model with one input and, first, the output that is compared. */
  static final class Onnx implements NetworkRunner {
    private final OrtSession session;
    private final Map<String, OnnxTensor> inputs;

    Onnx(Path file, Tensor x) throws OrtException {
      this(session(file.toString(), x), x);
    }

    Onnx(OrtSession session, Tensor x) throws OrtException {
      this.session = session;
      inputs =
          Map.of(
              session.getInputNames().iterator().next(),
              OnnxTensor.createTensor(
                  OrtEnvironment.getEnvironment(), FloatBuffer.wrap(x.toFloats()), x.shape()));
    }

    private static OrtSession session(String file, Tensor x) throws OrtException {
      try (OrtSession.SessionOptions options = OnnxRuntime.options(x.device().threads())) {
        return OrtEnvironment.getEnvironment().createSession(file, options);
      }
    }

    @Override
    public String name() {
      return "ONNX Runtime F32";
    }

    @Override
    public void run() throws OrtException {
      session.run(inputs).close();
    }

    @Override
    public float[] result() throws OrtException {
      try (OrtSession.Result outputs = session.run(inputs)) {
        FloatBuffer buffer = ((OnnxTensor) outputs.get(0)).getFloatBuffer();
        float[] values = new float[buffer.remaining()];
        buffer.get(values);
        return values;
      }
    }

    @Override
    public void close() {
      try {
        inputs.values().forEach(OnnxTensor::close);
        session.close();
      } catch (OrtException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
