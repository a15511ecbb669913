package dev.sinew.nn;

import static dev.sinew.nn.Layers.assertClose;
import static dev.sinew.nn.Layers.random;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.Pool2dOptions;
import dev.sinew.Tensor;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LayersTest {
  private final Random random = new Random(21);

  @ParameterizedTest
  @CsvSource({
    "3, 8, 3, 1, 0, 1, 1",
    "3, 8, 3, 2, 1, 1, 1",
    "8, 8, 3, 1, 1, 1, 8",
    "8, 16, 3, 2, 1, 1, 8",
    "8, 12, 3, 1, 2, 2, 4",
    "5, 7, 1, 1, 0, 1, 1",
    "4, 6, 5, 3, 2, 1, 2",
    "1, 1, 7, 1, 5, 5, 1"
  })
  void convolution(int in, int out, int kernel, int stride, int padding, int dilation, int groups)
      throws IOException {
    double[] weight = random(random, out * in / groups * kernel * kernel);
    double[] bias = random(random, out);
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("weight", DType.F32, weight, out, in / groups, kernel, kernel)
            .add("bias", DType.F32, bias, out);
    Conv2dOptions options =
        Conv2dOptions.defaults().stride(stride).padding(padding).dilation(dilation).groups(groups);
    Oracle.Convolution formula =
        new Oracle.Convolution(in, out, kernel, stride, padding, dilation, groups);
    int height = 23;
    int width = 30;
    try (Conv2d layer = new Conv2d(in, out, kernel, options)) {
      layer.load(model);
      for (int images : new int[] {0, 1, 3}) {
        double[] x = random(random, images * in * height * width);
        double[] expected = formula.apply(x, weight, bias, height, width);
        assertClose(expected, Layers.run(layer, x, images, in, height, width), 1e-4, "" + images);
      }
      double[] x = Layers.bf16(random(random, in * height * width));
      double[] expected = formula.apply(x, weight, bias, height, width);
      assertClose(
          expected,
          Layers.run(layer, DType.BF16, x, 1, in, height, width),
          Layers.bf16Bounds(expected, 1e-4),
          "BF16");
      try (Arena arena = new Arena();
          Tensor wrong = Tensor.allocate(Device.cpu(), DType.F32, 1, in + 1, 30, 30);
          Tensor small = Tensor.allocate(Device.cpu(), DType.F32, 1, in, 0, 0)) {
        IllegalArgumentException e =
            assertThrows(IllegalArgumentException.class, () -> layer.forward(wrong, arena));
        assertEquals(
            layer
                + " takes F32 or BF16 [n, "
                + in
                + ", height, width], not F32 [1, "
                + (in + 1)
                + ", 30, 30]",
            e.getMessage());
        if (padding < dilation * (kernel - 1) / 2 + 1 && padding == 0) {
          assertThrows(IllegalArgumentException.class, () -> layer.forward(small, arena));
        }
      }
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> new Conv2d(in, out, kernel, Conv2dOptions.defaults().groups(in * out + 1)));
  }

  @Test
  void norms() throws IOException {
    int size = 37;
    double[] weight = random(random, size);
    double[] bias = random(random, size);
    double[] mean = random(random, size);
    double[] variance = Oracle.absolute(random(random, size));
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("layer.weight", DType.F32, weight, size)
            .add("layer.bias", DType.F32, bias, size)
            .add("rms.weight", DType.F32, weight, size)
            .add("batch.weight", DType.F32, weight, size)
            .add("batch.bias", DType.F32, bias, size)
            .add("batch.running_mean", DType.F32, mean, size)
            .add("batch.running_var", DType.F32, variance, size)
            .add("batch.num_batches_tracked", DType.I64, new double[] {5});
    LayerNorm layer = new LayerNorm(size);
    RmsNorm rms = new RmsNorm(size, 1e-6);
    BatchNorm batch = new BatchNorm(size);
    double[] x = random(random, 4 * size * 3);
    try (Sequential all =
        new Sequential().add("layer", layer).add("rms", rms).add("batch", batch)) {
      all.load(model);
      assertClose(
          Oracle.norm(x, weight, bias, 1e-5), Layers.run(layer, x, 4, 3, size), 1e-5, "layer norm");
      assertClose(
          Oracle.norm(x, weight, null, 1e-6), Layers.run(rms, x, 12, size), 1e-5, "RMS norm");
      assertClose(
          Oracle.batchNorm(x, mean, variance, weight, bias, 1e-5, 3),
          Layers.run(batch, x, 4, size, 3),
          1e-3,
          "batch norm");
      assertClose(
          Oracle.batchNorm(x, mean, variance, weight, bias, 1e-5, 1),
          Layers.run(batch, x, 12, size),
          1e-3,
          "batch norm of vectors");
    }
  }

  @Test
  void pooling() {
    double[] x = random(random, 2 * 3 * 5 * 7);
    try (MaxPool2d largest = new MaxPool2d(2);
        AvgPool2d mean = new AvgPool2d(Pool2dOptions.of(3).stride(2).padding(1));
        Arena arena = new Arena();
        Tensor vector = Tensor.of(new float[6], 2, 3)) {
      double[] found = Layers.run(largest, x, 2, 3, 5, 7);
      double[] means = Layers.run(mean, x, 2, 3, 5, 7);
      assertEquals(2 * 3 * 2 * 3, found.length);
      assertEquals(2 * 3 * 3 * 4, means.length);
      for (int i = 0; i < found.length; i++) {
        int plane = i / 6;
        int at = plane * 35 + i % 6 / 3 * 14 + i % 3 * 2;
        assertEquals(
            Math.max(Math.max(x[at], x[at + 1]), Math.max(x[at + 7], x[at + 8])), found[i]);
      }
      for (int i = 0; i < means.length; i++) {
        double sum = 0;
        for (int row = i % 12 / 4 * 2 - 1; row < i % 12 / 4 * 2 + 2; row++) {
          for (int col = i % 4 * 2 - 1; col < i % 4 * 2 + 2; col++) {
            sum += row < 0 || row > 4 || col < 0 || col > 6 ? 0 : x[i / 12 * 35 + row * 7 + col];
          }
        }
        assertEquals(sum / 9, means[i], 1e-6);
      }
      assertEquals(
          "MaxPool2d(2x2) takes [n, channels, height, width] of at least its window's size, not F32"
              + " [2, 3]",
          assertThrows(IllegalArgumentException.class, () -> largest.forward(vector, arena))
              .getMessage());
    }
  }

  @Test
  void activationsAndShapes() {
    double[] x = random(random, 2 * 3 * 4);
    try (ActivationLayer relu = ActivationLayer.relu();
        ActivationLayer silu = new ActivationLayer(Activation.SILU);
        Softmax softmax = new Softmax();
        Flatten flatten = new Flatten();
        Dropout dropout = new Dropout();
        Arena arena = new Arena();
        Tensor input = Layers.tensor(x, 2, 3, 4)) {
      assertClose(Oracle.relu(x), Layers.run(relu, x, 2, 3, 4), 0, "ReLU");
      double[] expected = x.clone();
      for (int i = 0; i < x.length; i++) {
        expected[i] = x[i] / (1 + Math.exp(-x[i]));
      }
      assertClose(expected, Layers.run(silu, x, 24), 1e-6, "SiLU");
      assertClose(Oracle.softmax(x, 4), Layers.run(softmax, x, 2, 3, 4), 1e-6, "softmax");
      Tensor flat = flatten.forward(input, arena);
      assertArrayEquals(new long[] {2, 12}, flat.shape());
      assertArrayEquals(x, Numbers.values(flat));
      assertSame(flat, flatten.forward(flat, arena));
      assertSame(input, dropout.forward(input, arena));
      // Inputs stay what they were.
      assertArrayEquals(x, Numbers.values(input));
    }
  }

  @Test
  void linearLayersTakeAnyLeadingDimensions() throws IOException {
    double[] weight = random(random, 12);
    MemoryCheckpoint model = new MemoryCheckpoint().add("weight", DType.F32, weight, 4, 3);
    double[] x = random(random, 2 * 5 * 3);
    try (Linear layer = new Linear(3, 4, false);
        Arena arena = new Arena();
        Tensor batch = Layers.tensor(x, 2, 5, 3);
        Tensor vector = Layers.tensor(new double[] {1, 2, 3}, 3);
        Tensor wrong = Layers.tensor(new double[4], 1, 4)) {
      layer.load(model);
      Tensor y = layer.forward(batch, arena);
      assertArrayEquals(new long[] {2, 5, 4}, y.shape());
      assertClose(Oracle.linear(x, weight, null, 3, 4), Numbers.values(y), 1e-5, "batch");
      assertArrayEquals(new long[] {4}, layer.forward(vector, arena).shape());
      assertEquals(
          "Linear(3, 4) takes F32 or BF16 [..., 3], not F32 [1, 4]",
          assertThrows(IllegalArgumentException.class, () -> layer.forward(wrong, arena))
              .getMessage());
    }
  }

  @Test
  void embeddingsRefuseNumbersBeyondTheTable() throws IOException {
    MemoryCheckpoint model =
        new MemoryCheckpoint().add("weight", DType.BF16, random(random, 12), 4, 3);
    try (Embedding layer = new Embedding(4, 3);
        Arena arena = new Arena();
        Tensor ids = Numbers.tensor(Device.cpu(), DType.I64, new double[] {0, 4}, 2);
        Tensor floats = Tensor.of(new float[2], 2)) {
      layer.load(model);
      assertThrows(IllegalArgumentException.class, () -> layer.forward(ids, arena));
      assertThrows(IllegalArgumentException.class, () -> layer.forward(floats, arena));
    }
  }

  @Test
  void partsOfASequenceCanBeRunAlone() throws IOException {
    double[] weight = random(random, 9);
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("0.weight", DType.F32, weight, 3, 3)
            .add("2.weight", DType.F32, weight, 3, 3);
    double[] x = random(random, 6);
    try (Sequential all =
            new Sequential(
                new Linear(3, 3, false), ActivationLayer.relu(), new Linear(3, 3, false));
        Arena arena = new Arena();
        Tensor input = Layers.tensor(x, 2, 3)) {
      all.load(model);
      Tensor middle = all.forward(input, 0, 2, arena);
      double[] expected = Oracle.relu(Oracle.linear(x, weight, null, 3, 3));
      assertClose(expected, Numbers.values(middle), 1e-5, "first part");
      double[] end = Numbers.values(all.forward(middle, 2, 3, arena));
      assertClose(Oracle.linear(expected, weight, null, 3, 3), end, 1e-5, "second part");
      assertArrayEquals(end, Numbers.values(all.forward(input, arena)));
      assertSame(input, all.forward(input, 3, 3, arena));
      assertThrows(IllegalArgumentException.class, () -> all.forward(input, 0, 1, arena));
      assertThrows(IllegalArgumentException.class, () -> all.forward(input, 1, 3, arena));
      assertThrows(IllegalArgumentException.class, () -> all.forward(input, 0, 4, arena));
    }
  }

  @Test
  void whatCannotBeFusedIsRefused() {
    try (Linear activated = new Linear(3, 4, true, Activation.RELU);
        Linear other = new Linear(3, 4);
        BatchNorm norm = new BatchNorm(4);
        BatchNorm wide = new BatchNorm(5);
        ActivationLayer relu = ActivationLayer.relu()) {
      assertThrows(IllegalArgumentException.class, () -> activated.fuse(norm));
      assertThrows(IllegalStateException.class, () -> activated.fuse(relu));
      assertThrows(IllegalArgumentException.class, () -> other.fuse(wide));
      other.fuse(norm);
      assertThrows(IllegalStateException.class, () -> other.fuse(norm));
      other.fuse(relu);
      assertThrows(IllegalStateException.class, () -> new Linear(3, 4).fuse(relu));
    }
  }

  @Test
  void concatenation() {
    try (Arena arena = new Arena();
        Tensor a = Tensor.of(new float[] {1, 2, 3, 4}, 2, 1, 2);
        Tensor b = Tensor.of(new float[] {5, 6, 7, 8, 9, 10, 11, 12}, 2, 2, 2)) {
      Tensor joined = Layout.concat(java.util.List.of(a, b), 1, arena);
      assertArrayEquals(new long[] {2, 3, 2}, joined.shape());
      assertArrayEquals(new float[] {1, 2, 5, 6, 7, 8, 3, 4, 9, 10, 11, 12}, joined.toFloats());
      assertEquals(
          "tensors of F32 [2, 1, 2] and F32 [2, 2, 2] cannot be joined along dimension 2",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> Layout.concat(java.util.List.of(a, b), 2, arena))
              .getMessage());
    }
  }
}
