package dev.sinew.benchmarks.peers;

import dev.sinew.DType;
import dev.sinew.Tensor;
import java.util.List;
import java.util.function.IntConsumer;
import org.bytedeco.javacpp.FloatPointer;

/** y = x W^T by a BLAS, which takes F32 weights [out, in] as they are. */
final class RowMajorProduct implements Contestant {
  interface Call {
    void run(FloatPointer x, FloatPointer w, FloatPointer y);
  }

  private final String name;
  private final int threads;
  private final IntConsumer setThreads;
  private final LayerData data;
  private final Call call;
  private final Tensor y;
  private final FloatPointer px;
  private final FloatPointer py;
  private final List<FloatPointer> copies;

  RowMajorProduct(String name, Problem problem, LayerData data, IntConsumer setThreads, Call call) {
    this.name = name;
    this.threads = problem.threads();
    this.setThreads = setThreads;
    this.data = data;
    this.call = call;
    this.y = Tensor.allocate(data.device, DType.F32, data.rows, data.out);
    this.px = Address.floats(data.x);
    this.py = Address.floats(y);
    this.copies = data.floatCopies(problem).stream().map(Address::floats).toList();
  }

  @Override
  public String name() {
    return name;
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
    return copies.size();
  }

  @Override
  public int run(int count) {
    setThreads.accept(threads);
    for (FloatPointer copy : copies.subList(0, count)) {
      call.run(px, copy, py);
    }
    // Sinew's own products use the same OpenBLAS, on one thread each.
    setThreads.accept(1);
    return count;
  }

  @Override
  public float[] result() {
    return y.toFloats();
  }

  @Override
  public long bytes() {
    return data.floats().values().byteSize();
  }

  @Override
  public void close() {
    y.close();
  }
}
