package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A made-up checkpoint with the names, shapes and kind of weights of a small Llama, in BF16. Always
 * the same bytes.
 *
 * <p>Every output channel has its own spread, a few are eight times larger, and 2% of all weights
 * come from a wider distribution, as in trained models: with weights of one spread, scales per
 * channel or group would have nothing to gain.
 */
record DemoModel(int layers, int hidden, int intermediate, int keyValue, int vocabulary) {
  /** What {@code sinew demo} uses: 250 MB. */
  static final DemoModel DEFAULT = new DemoModel(10, 1024, 2816, 256, 8192);

  private static final double SPREAD = 0.02;
  private static final double TAIL_SHARE = 0.02;
  private static final float TAIL_WIDTH = 2.5f;
  private static final int OUTLIER_CHANNELS = 200; // one in so many
  private static final float OUTLIER_WIDTH = 8;

  DemoModel withLayers(int count) {
    return new DemoModel(count, hidden, intermediate, keyValue, vocabulary);
  }

  List<TensorInfo> tensors() {
    List<TensorInfo> tensors = new ArrayList<>();
    add(tensors, "model.embed_tokens.weight", vocabulary, hidden);
    for (int i = 0; i < layers; i++) {
      String layer = "model.layers." + i + ".";
      add(tensors, layer + "input_layernorm.weight", hidden);
      add(tensors, layer + "self_attn.q_proj.weight", hidden, hidden);
      add(tensors, layer + "self_attn.k_proj.weight", keyValue, hidden);
      add(tensors, layer + "self_attn.v_proj.weight", keyValue, hidden);
      add(tensors, layer + "self_attn.o_proj.weight", hidden, hidden);
      add(tensors, layer + "post_attention_layernorm.weight", hidden);
      add(tensors, layer + "mlp.gate_proj.weight", intermediate, hidden);
      add(tensors, layer + "mlp.up_proj.weight", intermediate, hidden);
      add(tensors, layer + "mlp.down_proj.weight", hidden, intermediate);
    }
    add(tensors, "model.norm.weight", hidden);
    add(tensors, "lm_head.weight", vocabulary, hidden);
    return tensors;
  }

  private static void add(List<TensorInfo> tensors, String name, long... shape) {
    tensors.add(TensorInfo.of(name, DType.BF16, shape));
  }

  /** Writes the checkpoint to a new file. */
  void write(Path file) throws IOException {
    List<TensorInfo> tensors = tensors();
    WeightSource source = new WeightSource(20261123);
    try (CheckpointWriter writer =
        SafeTensors.create(file, tensors, Map.of("format", "pt"), false)) {
      for (TensorInfo tensor : tensors) {
        write(tensor, source, writer);
      }
      writer.commit();
    }
  }

  private static void write(TensorInfo tensor, WeightSource source, CheckpointWriter writer)
      throws IOException {
    int cols = Math.toIntExact(tensor.cols());
    boolean norm = tensor.shape().size() == 1;
    ByteBuffer row = ByteBuffer.allocateDirect(cols * 2).order(ByteOrder.LITTLE_ENDIAN);
    float[] values = new float[cols];
    for (long i = 0; i < tensor.rows(); i++) {
      float width = (float) (SPREAD * (0.5 + 1.5 * source.nextUniform()));
      if (source.nextInt(OUTLIER_CHANNELS) == 0) {
        width *= OUTLIER_WIDTH;
      }
      for (int j = 0; j < cols; j++) {
        values[j] = source.nextUnit() * width;
      }
      for (int tails = (int) (TAIL_SHARE * cols); tails > 0; tails--) {
        values[source.nextInt(cols)] *= TAIL_WIDTH;
      }
      for (int j = 0; j < cols; j++) {
        // Norms scale around 1.
        float value = norm ? 1 + values[j] : values[j];
        row.putShort(2 * j, toBf16(value));
      }
      writer.write(tensor.name(), i * row.capacity(), row.clear());
    }
  }

  /** The nearest BF16, ties to even, of a finite number. */
  private static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
