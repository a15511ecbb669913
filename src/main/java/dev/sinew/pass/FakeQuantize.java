package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.util.List;

/**
 * Rounds weights to the values that {@link Quantize} could store, without changing their type: what
 * quantization would do to a model, for measuring and for training.
 *
 * @param quantize how the values are chosen
 */
public record FakeQuantize(Quantize quantize) implements Pass {
  @Override
  public String recipe() {
    return quantize.recipe().replace("--quantize", "--fake-quantize");
  }

  @Override
  public Extent extent() {
    return quantize.extent();
  }

  @Override
  public long alignment() {
    return quantize.alignment();
  }

  @Override
  public long scratchBytes(TensorInfo tensor) {
    return quantize.scratchBytes(tensor);
  }

  @Override
  public List<TensorInfo> outputs(TensorInfo tensor) {
    Quantize.requireFloating(tensor, "quantized");
    return List.of(tensor);
  }

  @Override
  public PassRun start(List<TensorInfo> tensors) {
    return (tensor, grid) -> new QuantizeRun(quantize.forTensor(tensor), tensor, grid, true);
  }

  /**
   * Rounds a tensor in memory, in place.
   *
   * @throws dev.sinew.NotFiniteException if it holds NaN or infinity
   */
  public void apply(Tensor x) {
    Quantize quantize = this.quantize.forTensor(x);
    long slices = quantize.slices(x);
    try (Tensor scale = Tensor.allocate(x.device(), DType.F32, slices);
        Tensor zeroPoint =
            quantize.scheme().isAsymmetric()
                ? Tensor.allocate(x.device(), DType.I8, slices)
                : null) {
      quantize.scales(x, scale, zeroPoint);
      Ops.fakeQuantize(x, scale, zeroPoint, quantize.groupSize(), quantize.scheme(), x);
    }
  }
}
