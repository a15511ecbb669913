package dev.sinew.benchmarks.peers;

import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensorDoubleLong_T;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** libtorch, through JavaCPP's preset. */
final class LibtorchLayers implements Peer {
  @Override
  public String name() {
    return "libtorch";
  }

  @Override
  public String version() {
    return String.valueOf(torch.class.getPackage().getImplementationVersion());
  }

  @Override
  public void setThreads(int threads) {
    torch.set_num_threads(threads);
  }

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) {
    List<Contestant> all = new ArrayList<>();
    if (problem.work() == Problem.Work.F32) {
      all.add(new Dense(problem, data));
    } else if (problem.work() == Problem.Work.INT8) {
      try {
        all.add(new Dynamic(problem, data));
      } catch (RuntimeException e) {
        // This build of libtorch may lack FBGEMM.
        System.out.println(
            "  libtorch int8: " + String.valueOf(e.getMessage()).lines().findFirst().orElse(""));
      }
    }
    return all;
  }

  static org.bytedeco.pytorch.Tensor view(Tensor tensor) {
    return torch.from_blob(Address.of(tensor), tensor.shape(), new TensorOptions(ScalarType.Float));
  }

  private abstract static class Layer implements Contestant {
    final LayerData data;
    final org.bytedeco.pytorch.Tensor x;
    private org.bytedeco.pytorch.Tensor y;

    Layer(LayerData data) {
      this.data = data;
      x = view(data.x);
    }

    abstract org.bytedeco.pytorch.Tensor call(int copy);

    @Override
    public int run(int count) {
      for (int i = 0; i < count; i++) {
        if (y != null) {
          y.close();
        }
        y = call(i);
      }
      return count;
    }

    @Override
    public float[] result() {
      float[] values = new float[(int) y.numel()];
      y.data_ptr_float().get(values);
      return values;
    }

    @Override
    public void close() {
      if (y != null) {
        y.close();
      }
      x.close();
    }
  }

  private static final class Dense extends Layer {
    private final List<org.bytedeco.pytorch.Tensor> copies;

    Dense(Problem problem, LayerData data) {
      super(data);
      copies = data.floatCopies(problem).stream().map(LibtorchLayers::view).toList();
    }

    @Override
    org.bytedeco.pytorch.Tensor call(int copy) {
      return torch.linear(x, copies.get(copy));
    }

    @Override
    public String name() {
      return "libtorch linear";
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
    public long bytes() {
      return data.floats().values().byteSize();
    }
  }

  /** Quantizes activations itself, and the weights once, with one scale for all. */
  private static final class Dynamic extends Layer {
    // Owns the tensors that come out of it.
    private final T_TensorTensorDoubleLong_T parts;
    private final org.bytedeco.pytorch.Tensor q;
    private final org.bytedeco.pytorch.Tensor offsets;
    private final org.bytedeco.pytorch.Tensor bias;
    private final Scalar scale;
    private final Scalar zeroPoint;
    private final List<org.bytedeco.pytorch.Tensor> copies = new ArrayList<>();

    Dynamic(Problem problem, LayerData data) {
      super(data);
      try (org.bytedeco.pytorch.Tensor weights = view(data.int8().values())) {
        parts = torch.fbgemm_linear_quantize_weight(weights);
        q = parts.get0();
        offsets = parts.get1();
        scale = new Scalar(parts.get2());
        zeroPoint = new Scalar(parts.get3());
      }
      bias = torch.zeros(data.out);
      int count = data.copies(problem, bytes());
      while (copies.size() < count) {
        copies.add(torch.fbgemm_pack_quantized_matrix(q));
      }
    }

    @Override
    org.bytedeco.pytorch.Tensor call(int copy) {
      return torch.fbgemm_linear_int8_weight_fp32_activation(
          x, q, copies.get(copy), offsets, scale, zeroPoint, bias);
    }

    @Override
    public String name() {
      return "libtorch fbgemm int8";
    }

    @Override
    public WeightData weights() {
      return data.int8();
    }

    @Override
    public Precision precision() {
      return Precision.BYTES_BOTH;
    }

    @Override
    public int copies() {
      return copies.size();
    }

    @Override
    public long bytes() {
      return data.in * data.out;
    }

    @Override
    public void close() {
      super.close();
      copies.forEach(org.bytedeco.pytorch.Tensor::close);
    }
  }
}
