package dev.sinew.benchmarks.peers;

import static org.bytedeco.mkl.global.mkl_rt.CblasFixOffset;
import static org.bytedeco.mkl.global.mkl_rt.CblasNoTrans;
import static org.bytedeco.mkl.global.mkl_rt.CblasRowMajor;
import static org.bytedeco.mkl.global.mkl_rt.CblasTrans;

import dev.sinew.DType;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.mkl.global.mkl_rt;

/** Intel's MKL, through JavaCPP's preset; compiled in the Maven profile mkl only. */
final class Mkl implements Peer {
  @Override
  public String name() {
    return "MKL";
  }

  @Override
  public String version() {
    return String.valueOf(mkl_rt.class.getPackage().getImplementationVersion());
  }

  @Override
  public void setThreads(int threads) {
    mkl_rt.MKL_Set_Num_Threads(threads);
  }

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) {
    int rows = (int) data.rows;
    int in = (int) data.in;
    int out = (int) data.out;
    return switch (problem.work()) {
      case F32 ->
          List.of(
              new RowMajorProduct(
                  "MKL sgemm",
                  problem,
                  data,
                  this::setThreads,
                  (x, w, y) -> {
                    if (rows == 1) {
                      mkl_rt.cblas_sgemv(
                          CblasRowMajor, CblasNoTrans, out, in, 1, w, in, x, 1, 0, y, 1);
                    } else {
                      mkl_rt.cblas_sgemm(
                          CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, w, in, 0, y,
                          out);
                    }
                  }));
      case INT8 -> List.of(new Integers(problem, data));
      default -> List.of();
    };
  }

  /** u8 x s8 to s32, the weights packed beforehand. */
  private final class Integers implements Contestant {
    private final LayerData data;
    private final int threads;
    private final Quantized x;
    private final Tensor y;
    private final List<Tensor> copies = new ArrayList<>();
    private final List<Pointer> pointers = new ArrayList<>();
    private final Pointer px;
    private final IntPointer py;
    private final IntPointer offset = new IntPointer(new int[] {0});

    Integers(Problem problem, LayerData data) {
      this.data = data;
      threads = problem.threads();
      x = new Quantized(data, true);
      y = Tensor.allocate(data.device, DType.I32, data.rows, data.out);
      px = Address.of(x.values());
      py = Address.ints(y);
      int count = data.copies(problem, bytes());
      while (copies.size() < count) {
        Tensor copy = Tensor.allocate(data.device, DType.I8, data.out, data.in);
        byte[] values = data.int8().q().toBytes();
        copy.withBuffer(0, values.length, buffer -> buffer.put(values));
        copies.add(copy);
        pointers.add(Address.of(copy));
      }
    }

    @Override
    public int run(int count) {
      setThreads(threads);
      int rows = (int) data.rows;
      int in = (int) data.in;
      int out = (int) data.out;
      for (Pointer w : pointers.subList(0, count)) {
        mkl_rt.cblas_gemm_s8u8s32(
            CblasRowMajor, CblasNoTrans, CblasTrans, CblasFixOffset, rows, out, in, 1, px, in,
            (byte) 0, w, in, (byte) 0, 0, py, out, offset);
      }
      return count;
    }

    @Override
    public String name() {
      return "MKL gemm_s8u8s32";
    }

    @Override
    public WeightData weights() {
      return data.int8();
    }

    @Override
    public Precision precision() {
      return Precision.BYTES;
    }

    @Override
    public int copies() {
      return copies.size();
    }

    @Override
    public float[] result() {
      return x.dequantized(y, data.int8());
    }

    @Override
    public String remark() {
      return x.remark(y, data.int8());
    }

    @Override
    public long bytes() {
      return data.in * data.out;
    }

    @Override
    public void close() {
      copies.forEach(Tensor::close);
      x.close();
      y.close();
    }
  }
}
