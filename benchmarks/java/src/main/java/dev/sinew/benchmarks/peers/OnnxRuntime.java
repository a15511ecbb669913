package dev.sinew.benchmarks.peers;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import dev.sinew.DType;
import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * ONNX Runtime for Java. A problem is one model with a node for each copy of the weights, as a
 * network has them, so that calls from Java do not count.
 */
final class OnnxRuntime implements Peer {
  private static final String CONTRIBUTED = "com.microsoft";

  private final OrtEnvironment environment =
      OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, "benchmarks");

  @Override
  public String name() {
    return "ONNX Runtime";
  }

  @Override
  public String version() {
    return environment.getVersion();
  }

  /** Each session has its own threads. */
  @Override
  public void setThreads(int threads) {}

  /** Threads wait for work as they do in a server, but not for longer than a run lasts. */
  static OrtSession.SessionOptions options(int threads) throws OrtException {
    OrtSession.SessionOptions options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(threads);
    options.setInterOpNumThreads(1);
    options.addConfigEntry("session.force_spinning_stop", "1");
    options.addConfigEntry("session.use_device_allocator_for_initializers", "1");
    options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
    return options;
  }

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) throws OrtException {
    List<Contestant> all = new ArrayList<>();
    switch (problem.work()) {
      case F32 -> all.add(new Layers(problem, data, "MatMul", data.floats(), 4));
      case INT8 -> {
        all.add(new Layers(problem, data, "DynamicQuantizeMatMul", data.int8(), 1));
        all.add(new Layers(problem, data, "MatMulInteger", data.int8(), 1));
      }
      case INT8_WEIGHTS ->
          all.add(new Layers(problem, data, "MatMulNBits 8/32", data.int8(32), 1.125));
      case INT4_WEIGHTS -> {
        all.add(new Layers(problem, data, "MatMulNBits 4/128", data.int4(128), 0.53125));
        all.add(new Layers(problem, data, "MatMulNBits 4/32", data.int4(32), 0.625));
      }
      default -> {}
    }
    return all;
  }

  private final class Layers implements Contestant {
    private final LayerData data;
    private final String operator;
    private final WeightData weights;
    private final long bytes;
    private final int calls;
    private final OrtSession session;
    private final Map<String, OnnxTensor> inputs;
    private final Quantized x;
    private float[] result;
    private String remark = "";

    Layers(
        Problem problem, LayerData data, String operator, WeightData weights, double bytesAWeight)
        throws OrtException {
      this.data = data;
      this.operator = operator;
      this.weights = weights;
      this.bytes = (long) (bytesAWeight * data.in * data.out);
      this.calls = data.copies(problem, bytes);
      boolean integers = operator.equals("MatMulInteger");
      x = integers ? new Quantized(data, true) : null;
      OnnxModel model = new OnnxModel();
      model.input("x", integers ? OnnxModel.UINT8 : OnnxModel.FLOAT, data.rows, data.in);
      List<Tensor> sources = new ArrayList<>();
      Tensor matrix = matrix(sources);
      for (int i = 0; i < calls; i++) {
        add(model, matrix, i);
        model.output("y" + i, integers ? OnnxModel.INT32 : OnnxModel.FLOAT, data.rows, data.out);
      }
      try (OrtSession.SessionOptions options = options(problem.threads())) {
        session = environment.createSession(model.build(), options);
      }
      sources.forEach(Tensor::close);
      inputs = Map.of("x", integers ? bytes(x.values()) : floats(data.x));
    }

    private OnnxTensor floats(Tensor tensor) throws OrtException {
      return OnnxTensor.createTensor(
          environment, FloatBuffer.wrap(tensor.toFloats()), tensor.shape());
    }

    private OnnxTensor bytes(Tensor tensor) throws OrtException {
      byte[] values = tensor.toBytes();
      ByteBuffer buffer = ByteBuffer.allocateDirect(values.length).order(ByteOrder.nativeOrder());
      buffer.put(values).flip();
      return OnnxTensor.createTensor(environment, buffer, tensor.shape(), OnnxJavaType.UINT8);
    }

    // Its matrices are [in, out], except those of MatMulNBits, which are ours with 128 added to
    // int8.
    private Tensor matrix(List<Tensor> sources) {
      Tensor ours = weights.q() == null ? weights.values() : weights.q();
      if (operator.startsWith("MatMulNBits 4")) {
        return ours;
      }
      boolean bits = operator.startsWith("MatMulNBits");
      int in = (int) data.in;
      int out = (int) data.out;
      Tensor matrix =
          bits
              ? Tensor.allocate(data.device, DType.U8, out, in)
              : Tensor.allocate(data.device, ours.dtype(), in, out);
      sources.add(matrix);
      if (bits) {
        byte[] from = ours.toBytes();
        for (int k = 0; k < from.length; k++) {
          from[k] ^= (byte) 0x80;
        }
        matrix.withBuffer(0, from.length, to -> to.put(from));
      } else if (ours.dtype() == DType.I8) {
        byte[] from = ours.toBytes();
        byte[] columns = new byte[from.length];
        forBlocks(out, in, (row, k) -> columns[k * out + row] = from[row * in + k]);
        matrix.withBuffer(0, from.length, to -> to.put(columns));
      } else {
        float[] from = ours.toFloats();
        float[] columns = new float[from.length];
        forBlocks(out, in, (row, k) -> columns[k * out + row] = from[row * in + k]);
        matrix.withBuffer(0, 4 * from.length, to -> to.asFloatBuffer().put(columns));
      }
      return matrix;
    }

    private interface Element {
      void at(int row, int column);
    }

    // In blocks, or every element would be a cache miss.
    private static void forBlocks(int rows, int columns, Element element) {
      for (int r = 0; r < rows; r += 32) {
        for (int c = 0; c < columns; c += 32) {
          for (int row = r; row < Math.min(rows, r + 32); row++) {
            for (int column = c; column < Math.min(columns, c + 32); column++) {
              element.at(row, column);
            }
          }
        }
      }
    }

    private void add(OnnxModel model, Tensor matrix, int i) {
      String w = "w" + i;
      int mark = calls - 1 - i; // none for the last, whose result is looked at
      String s = "s" + i;
      String y = "y" + i;
      long in = data.in;
      long out = data.out;
      switch (operator) {
        case "MatMul" -> {
          model.markedInitializer(w, OnnxModel.FLOAT, matrix, mark, in, out);
          model.node("", "MatMul", List.of("x", w), y, Map.of());
        }
        case "MatMulInteger" -> {
          model.markedInitializer(w, OnnxModel.INT8, matrix, mark, in, out);
          model.node("", "MatMulInteger", List.of("x", w), y, Map.of());
        }
        case "DynamicQuantizeMatMul" -> {
          model.markedInitializer(w, OnnxModel.INT8, matrix, mark, in, out);
          model.initializer(s, OnnxModel.FLOAT, weights.scale(), out);
          model.node(CONTRIBUTED, "DynamicQuantizeMatMul", List.of("x", w, s), y, Map.of());
        }
        default -> {
          long bits = operator.startsWith("MatMulNBits 8") ? 8 : 4;
          long group = weights.group();
          long groups = in / group;
          model.markedInitializer(w, OnnxModel.UINT8, matrix, mark, out, groups, group * bits / 8);
          model.initializer(s, OnnxModel.FLOAT, weights.scale(), out * groups);
          model.node(
              CONTRIBUTED,
              "MatMulNBits",
              List.of("x", w, s),
              y,
              Map.of("K", in, "N", out, "bits", bits, "block_size", group, "accuracy_level", 4L));
        }
      }
    }

    @Override
    public String name() {
      return "ONNX Runtime " + operator;
    }

    @Override
    public WeightData weights() {
      return weights;
    }

    @Override
    public Precision precision() {
      return weights.q() == null ? Precision.FLOAT : Precision.BYTES;
    }

    @Override
    public int copies() {
      return calls;
    }

    @Override
    public int run(int count) throws OrtException {
      session.run(inputs).close();
      return calls;
    }

    @Override
    public float[] result() {
      if (result == null) {
        try (OrtSession.Result outputs = session.run(inputs)) {
          OnnxTensor y = (OnnxTensor) outputs.get("y" + (calls - 1)).orElseThrow();
          result = x == null ? floats(y.getFloatBuffer()) : dequantized(y.getIntBuffer());
        } catch (OrtException e) {
          throw new IllegalStateException(e);
        }
      }
      return result;
    }

    private static float[] floats(FloatBuffer buffer) {
      float[] values = new float[buffer.remaining()];
      buffer.get(values);
      return values;
    }

    private float[] dequantized(IntBuffer buffer) {
      try (Tensor sums = Tensor.allocate(data.device, DType.I32, data.rows, data.out)) {
        sums.withBuffer(0, (int) sums.byteSize(), to -> to.asIntBuffer().put(buffer));
        remark = x.remark(sums, weights);
        return x.dequantized(sums, weights);
      }
    }

    @Override
    public String remark() {
      return remark;
    }

    @Override
    public long bytes() {
      return bytes;
    }

    @Override
    public void close() {
      try {
        inputs.values().forEach(OnnxTensor::close);
        session.close();
      } catch (OrtException e) {
        throw new IllegalStateException(e);
      }
      if (x != null) {
        x.close();
      }
    }
  }
}
