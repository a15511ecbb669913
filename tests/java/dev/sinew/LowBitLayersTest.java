package dev.sinew;

import static dev.sinew.Numbers.tensor;
import static dev.sinew.Numbers.values;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Layers over what quantizing, pruning and clustering make, against their dequantized weights. */
class LowBitLayersTest {
  private static final int ROWS = 3;
  private static final int OUT = 21;
  private static final int IN = 150;
  private static final Device CPU = Device.cpu();

  private final double[] weight = new double[OUT * IN];
  private final double[] x = new double[ROWS * IN];

  LowBitLayersTest() {
    Random random = new Random(11);
    for (int i = 0; i < weight.length; i++) {
      weight[i] = random.nextInt(2) == 0 ? 0 : (float) (random.nextGaussian() * 0.1 + 0.02);
    }
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) random.nextGaussian();
    }
  }

  /** y = x W^T within the error of activations in fixed point and of F32 sums. */
  private void check(PackedWeights packed, double[] dense) {
    assertEquals(OUT, packed.out());
    assertEquals(IN, packed.in());
    try (Tensor xt = tensor(CPU, DType.F32, x, ROWS, IN);
        Tensor y = Tensor.allocate(CPU, DType.F32, ROWS, OUT)) {
      Functional.linear(xt, packed, null, Activation.NONE, y);
      double[] result = values(y);
      for (int m = 0; m < ROWS; m++) {
        double absmax = 0;
        for (int k = 0; k < IN; k++) {
          absmax = Math.max(absmax, Math.abs(x[m * IN + k]));
        }
        for (int n = 0; n < OUT; n++) {
          double sum = 0;
          double bound = 1e-30;
          for (int k = 0; k < IN; k++) {
            double w = dense[n * IN + k];
            sum += w * x[m * IN + k];
            bound += Math.abs(w) * (absmax / 64000 + Math.abs(x[m * IN + k]) * IN / (1 << 24));
          }
          assertEquals(sum, result[m * OUT + n], bound, packed + " at " + m + ", " + n);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "INT8_SYMMETRIC, 0",
    "INT8_SYMMETRIC, 50",
    "INT8_ASYMMETRIC, 0",
    "INT8_ASYMMETRIC, 32",
    "FP8, 0",
    "FP8, 64",
    "INT4_SYMMETRIC, 0",
    "INT4_SYMMETRIC, 32",
    "INT4_ASYMMETRIC, 128"
  })
  void quantized(QuantScheme scheme, long group) {
    try (Scope scope = new Scope()) {
      Tensor w = scope.add(tensor(CPU, DType.F32, weight, OUT, IN));
      long slices = group == 0 ? 1 : (IN + group - 1) / group;
      Tensor lo = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor hi = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor scale = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor zero = scheme.isAsymmetric() ? scope.allocate(CPU, DType.I8, OUT, slices) : null;
      boolean int4 = scheme.bits() == 4;
      Tensor q = scope.allocate(CPU, scheme.storedType(), OUT, int4 ? (IN + 1) / 2 : IN);
      Tensor back = scope.allocate(CPU, DType.F32, OUT, IN);
      Ops.range(w, group, scheme, RangeMethod.MINMAX, 100, lo, hi);
      Ops.scale(lo, hi, scheme, scale, zero);
      Ops.quantize(w, scale, zero, group, q);
      Ops.dequantize(q, scale, zero, group, back);
      try (PackedWeights packed =
          int4
              ? PackedWeights.w4(q, IN, scale, zero, group)
              : PackedWeights.w8(q, scale, zero, group)) {
        assertEquals(int4 ? PackedWeights.Kind.W4 : PackedWeights.Kind.W8, packed.kind());
        check(packed, values(back));
      }
    }
  }

  private PackedWeights sparse(Scope scope, Tensor dense, Tensor scale, long group) {
    Tensor values = scope.allocate(CPU, dense.dtype(), Ops.countNonzeros(dense));
    Tensor bitmap = scope.allocate(CPU, DType.U8, OUT, (IN + 7) / 8);
    Tensor offsets = scope.allocate(CPU, DType.I64, OUT + 1);
    Ops.bitmapEncode(dense, 0, values, bitmap, offsets);
    return PackedWeights.sparse(values, bitmap, offsets, scale, group, IN);
  }

  @ParameterizedTest
  @CsvSource({"F64", "F32", "F16", "BF16"})
  void sparseFloats(DType dtype) {
    try (Scope scope = new Scope()) {
      Tensor dense = scope.add(tensor(CPU, dtype, weight, OUT, IN));
      try (PackedWeights packed = sparse(scope, dense, null, 0)) {
        assertEquals(PackedWeights.Kind.SPARSE, packed.kind());
        check(packed, values(dense));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"INT8_SYMMETRIC, 0", "INT8_SYMMETRIC, 32", "FP8, 0"})
  void sparseQuantized(QuantScheme scheme, long group) {
    try (Scope scope = new Scope()) {
      Tensor w = scope.add(tensor(CPU, DType.F32, weight, OUT, IN));
      long slices = group == 0 ? 1 : (IN + group - 1) / group;
      Tensor lo = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor hi = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor scale = scope.allocate(CPU, DType.F32, OUT, slices);
      Tensor q = scope.allocate(CPU, scheme.storedType(), OUT, IN);
      Tensor back = scope.allocate(CPU, DType.F32, OUT, IN);
      Ops.range(w, group, scheme, RangeMethod.MINMAX, 100, lo, hi);
      Ops.scale(lo, hi, scheme, scale, null);
      Ops.quantize(w, scale, null, group, q);
      Ops.dequantize(q, scale, null, group, back);
      Tensor bytes = scope.allocate(CPU, DType.I8, OUT, IN);
      bytes.copyFrom(0, ByteBuffer.wrap(q.toBytes()));
      Tensor bitmap = scope.allocate(CPU, DType.U8, OUT, (IN + 7) / 8);
      Tensor offsets = scope.allocate(CPU, DType.I64, OUT + 1);
      long count = Ops.countNonzeros(bytes);
      Tensor encoded = scope.allocate(CPU, DType.I8, count);
      Ops.bitmapEncode(bytes, 0, encoded, bitmap, offsets);
      Tensor values = scope.allocate(CPU, scheme.storedType(), count);
      values.copyFrom(0, ByteBuffer.wrap(encoded.toBytes()));
      try (PackedWeights packed = PackedWeights.sparse(values, bitmap, offsets, scale, group, IN)) {
        check(packed, values(back));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 1", "4, 1", "4, 3", "7, 2"})
  void clustered(int bits, int codebooks) {
    Random random = new Random(bits);
    double[] entries = new double[codebooks << bits];
    for (int i = 0; i < entries.length; i++) {
      entries[i] = (float) random.nextGaussian();
    }
    try (Scope scope = new Scope()) {
      byte[] indices = new byte[OUT * ((IN * bits + 7) / 8)];
      random.nextBytes(indices);
      Tensor q = scope.add(Numbers.ofBytes(CPU, DType.U8, indices, OUT, (IN * bits + 7) / 8));
      Tensor book = scope.add(tensor(CPU, DType.F32, entries, codebooks, 1L << bits));
      double[] dense = new double[OUT * IN];
      int each = (OUT + codebooks - 1) / codebooks;
      for (int n = 0; n < OUT; n++) {
        for (int k = 0; k < IN; k++) {
          int index = 0;
          for (int b = 0; b < bits; b++) {
            int bit = k * bits + b;
            int at = n * ((IN * bits + 7) / 8) + bit / 8;
            index |= (indices[at] >> (bit % 8) & 1) << b;
          }
          dense[n * IN + k] = entries[(n / each << bits) + index];
        }
      }
      try (PackedWeights packed = PackedWeights.clustered(q, book, IN)) {
        assertEquals(PackedWeights.Kind.CLUSTERED, packed.kind());
        check(packed, dense);
      }
    }
  }

  private static void refused(String part, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void partsThatDoNotAgreeAreRefused() {
    try (Scope scope = new Scope()) {
      Tensor i8 = scope.allocate(CPU, DType.I8, OUT, IN);
      Tensor fp8 = scope.allocate(CPU, DType.F8_E4M3, OUT, IN);
      Tensor f32 = scope.allocate(CPU, DType.F32, OUT, IN);
      Tensor nibbles = scope.allocate(CPU, DType.U8, OUT, IN / 2);
      Tensor scale = scope.allocate(CPU, DType.F32, OUT);
      Tensor zero = scope.allocate(CPU, DType.I8, OUT);
      Tensor few = scope.allocate(CPU, DType.F32, OUT - 1);
      refused("weight is F32", () -> PackedWeights.w8(f32, scale, null, 0));
      refused("no zero points", () -> PackedWeights.w8(fp8, scale, zero, 0));
      refused("scale is F32 with 20 elements", () -> PackedWeights.w8(i8, few, null, 0));
      refused("63 is needed", () -> PackedWeights.w8(i8, scale, null, 64));
      refused("is negative", () -> PackedWeights.w8(i8, scale, null, -1));
      refused("scale is null", () -> PackedWeights.w8(i8, null, null, 0));
      refused("the weights to pack are null", () -> PackedWeights.w8(null, scale, null, 0));
      refused("rows of 75", () -> PackedWeights.w4(nibbles, IN + 1, scale, null, 0));
      refused("not a number of columns", () -> PackedWeights.w4(nibbles, -1, scale, null, 0));
      Tensor odd = scope.allocate(CPU, DType.F32, OUT, 22);
      refused("even size, not 7", () -> PackedWeights.w4(nibbles, IN, odd, null, 7));
      Tensor book = scope.allocate(CPU, DType.F32, 1, 5);
      refused("rows of 5", () -> PackedWeights.clustered(nibbles, book, IN));
      Tensor books = scope.allocate(CPU, DType.F32, OUT + 1, 16);
      refused("22 codebooks", () -> PackedWeights.clustered(nibbles, books, IN));
    }
  }

  @Test
  void hostileBitmapsAreRefused() {
    try (Scope scope = new Scope()) {
      Tensor values = scope.allocate(CPU, DType.F32, 4);
      Tensor bitmap = scope.allocate(CPU, DType.U8, 2, 2);
      Tensor offsets = scope.allocate(CPU, DType.I64, 3);
      Runnable pack = () -> PackedWeights.sparse(values, bitmap, offsets, null, 0, 11).close();
      set(bitmap, 3, 0, 1, 0);
      refused("values has 4 elements, but the bitmap 3 ones", pack);
      set(bitmap, 3, 0, 1, 8);
      refused("ones beyond the last column", pack);
      set(bitmap, 3, 0, 1, 4);
      refused("row_offsets do not fit", pack);
      setLongs(offsets, 0, 1, 4);
      refused("row_offsets do not fit", pack);
      setLongs(offsets, Long.MIN_VALUE, Long.MAX_VALUE, 4);
      refused("row_offsets do not fit", pack);
      setLongs(offsets, 7, 9, 11);
      pack.run();
      Tensor scale = scope.allocate(CPU, DType.F32, 2);
      refused(
          "F32 values have no scales",
          () -> PackedWeights.sparse(values, bitmap, offsets, scale, 0, 11));
    }
  }

  private static void set(Tensor tensor, int... bytes) {
    byte[] data = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      data[i] = (byte) bytes[i];
    }
    tensor.copyFrom(0, ByteBuffer.wrap(data));
  }

  private static void setLongs(Tensor tensor, long... numbers) {
    ByteBuffer data = ByteBuffer.allocate(8 * numbers.length);
    data.order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().put(numbers);
    tensor.copyFrom(0, data);
  }
}
