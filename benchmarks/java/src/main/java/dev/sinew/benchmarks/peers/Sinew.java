package dev.sinew.benchmarks.peers;

import dev.sinew.Activation;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Functional;
import dev.sinew.Ops;
import dev.sinew.PackedWeights;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Our own layers. */
final class Sinew implements Peer {
  @Override
  public String name() {
    return "Sinew";
  }

  @Override
  public String version() {
    return Device.isa() + "; products of matrices: " + Device.blas().replaceAll(", /.*", "");
  }

  /** Each problem's device has its own threads. */
  @Override
  public void setThreads(int threads) {}

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) {
    return switch (problem.work()) {
      case F32 ->
          List.of(
              layer(problem, data, "linear", data.floats(), Contestant.Precision.FLOAT, true),
              new Product(problem, data));
      case INT8 ->
          List.of(layer(problem, data, "W8A8", data.int8(), Contestant.Precision.BYTES, true));
      case INT8_WEIGHTS ->
          List.of(
              layer(problem, data, "W8", data.int8(), Contestant.Precision.WORDS, true),
              layer(problem, data, "W8/32", data.int8(32), Contestant.Precision.WORDS, true));
      case INT4_WEIGHTS ->
          List.of(
              layer(problem, data, "W4/128", data.int4(128), Contestant.Precision.WORDS, true),
              layer(problem, data, "W4/32", data.int4(32), Contestant.Precision.WORDS, true));
      case SPARSE ->
          List.of(
              layer(problem, data, "sparse W8", data.pruned(), Contestant.Precision.WORDS, true),
              // What it has to beat.
              layer(problem, data, "dense W8", data.pruned(), Contestant.Precision.WORDS, false),
              layer(problem, data, "dense W8A8", data.pruned(), Contestant.Precision.BYTES, false));
    };
  }

  private static Contestant layer(
      Problem problem,
      LayerData data,
      String name,
      WeightData weights,
      Contestant.Precision precision,
      boolean ours) {
    Supplier<PackedWeights> packing =
        switch (name) {
          case "linear" -> () -> PackedWeights.dense(weights.values());
          case "W8A8", "dense W8A8" -> () -> PackedWeights.w8a8(weights.q(), weights.scale(), null);
          case "W8", "dense W8" -> () -> PackedWeights.w8(weights.q(), weights.scale(), null, 0);
          case "W8/32" -> () -> PackedWeights.w8(weights.q(), weights.scale(), null, 32);
          case "sparse W8" -> () -> sparse(data, weights);
          default ->
              () -> PackedWeights.w4(weights.q(), data.in, weights.scale(), null, weights.group());
        };
    return new Linear(problem, data, "Sinew " + name, weights, precision, packing, ours);
  }

  private static PackedWeights sparse(LayerData data, WeightData weights) {
    try (Tensor values = Tensor.allocate(data.device, DType.I8, Ops.countNonzeros(weights.q()));
        Tensor bitmap = Tensor.allocate(data.device, DType.U8, data.out, (data.in + 7) / 8);
        Tensor offsets = Tensor.allocate(data.device, DType.I64, data.out + 1)) {
      Ops.bitmapEncode(weights.q(), 0, values, bitmap, offsets);
      return PackedWeights.sparse(values, bitmap, offsets, weights.scale(), 0, data.in);
    }
  }

  /** {@link Functional#linear} with any kind of weights. */
  private record Linear(
      String name,
      WeightData weights,
      Precision precision,
      boolean ours,
      Tensor x,
      Tensor y,
      List<PackedWeights> packed)
      implements Contestant {
    Linear(
        Problem problem,
        LayerData data,
        String name,
        WeightData weights,
        Precision precision,
        Supplier<PackedWeights> packing,
        boolean ours) {
      this(
          name,
          weights,
          precision,
          ours,
          data.x,
          Tensor.allocate(data.device, DType.F32, data.rows, data.out),
          new ArrayList<>());
      packed.add(packing.get());
      int count = data.copies(problem, packed.get(0).byteSize());
      while (packed.size() < count) {
        packed.add(packing.get());
      }
    }

    @Override
    public int copies() {
      return packed.size();
    }

    @Override
    public int run(int count) {
      for (PackedWeights copy : packed.subList(0, count)) {
        Functional.linear(x, copy, null, Activation.NONE, y);
      }
      return count;
    }

    @Override
    public float[] result() {
      return y.toFloats();
    }

    @Override
    public long bytes() {
      return packed.get(0).byteSize();
    }

    @Override
    public void close() {
      packed.forEach(PackedWeights::close);
      y.close();
    }
  }

  /** {@link Functional#matmul}, which takes the weights as they are. */
  private record Product(LayerData data, List<Tensor> matrices, Tensor y) implements Contestant {
    Product(Problem problem, LayerData data) {
      this(
          data,
          data.floatCopies(problem),
          Tensor.allocate(data.device, DType.F32, data.rows, data.out));
    }

    @Override
    public String name() {
      return "Sinew matmul";
    }

    @Override
    public boolean ours() {
      return true;
    }

    @Override
    public WeightData weights() {
      return data.floats();
    }

    @Override
    public Precision precision() {
      return Precision.FLOAT;
    }

    @Override
    public int copies() {
      return matrices.size();
    }

    @Override
    public int run(int count) {
      for (Tensor matrix : matrices.subList(0, count)) {
        Functional.matmul(data.x, matrix, true, y);
      }
      return count;
    }

    @Override
    public float[] result() {
      return y.toFloats();
    }

    @Override
    public long bytes() {
      return matrices.get(0).byteSize();
    }

    @Override
    public void close() {
      y.close();
    }
  }
}
