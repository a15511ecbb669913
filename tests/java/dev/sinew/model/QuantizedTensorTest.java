package dev.sinew.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.QuantizedTensor.Encoding;
import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QuantizedTensorTest {
  private static QuantizedTensor find(Described checkpoint) throws IOException {
    return QuantizedTensor.find(checkpoint).get("t");
  }

  private static void assertDamaged(Described checkpoint, String part) {
    assertTimeoutPreemptively(
        Duration.ofSeconds(10),
        () -> {
          CheckpointException e =
              assertThrows(CheckpointException.class, () -> QuantizedTensor.find(checkpoint));
          assertTrue(e.getMessage().contains("'model.test'"), e.getMessage());
          assertTrue(e.getMessage().contains("'t'"), e.getMessage());
          assertTrue(e.getMessage().contains(part), e.getMessage());
        });
  }

  private static Described int8(long rows, long cols, long... scaleShape) {
    return new Described().add("t", DType.I8, rows, cols).add("t_scale", DType.F32, scaleShape);
  }

  private static Described int4(long[] shape, long bytes, long... scaleShape) {
    return new Described()
        .add("t", DType.U8, bytes)
        .add("t_scale", DType.F32, scaleShape)
        .shape("t_shape", shape);
  }

  @Test
  void layoutsThatFit() throws IOException {
    QuantizedTensor perTensor = find(int8(4, 6, 1));
    assertEquals(0, perTensor.group());
    assertEquals(TensorInfo.of("t", DType.F32, 4, 6), perTensor.logical());
    assertNull(perTensor.zeroPoint());
    assertEquals(Encoding.INT8, perTensor.encoding());
    assertEquals(Set.of("t", "t_scale"), perTensor.parts());
    assertEquals(0, find(int8(4, 6, 4, 1)).group());
    assertEquals(3, find(int8(4, 6, 4, 2)).group());
    assertEquals(6, find(int8(1, 24, 1, 4)).group());
    QuantizedTensor packed = find(int4(new long[] {4, 3, 3}, 20, 4, 3).group("4"));
    assertEquals(4, packed.group());
    assertEquals(Encoding.INT4, packed.encoding());
    assertEquals(Set.of("t", "t_scale", "t_shape"), packed.parts());
    assertEquals(TensorInfo.of("t", DType.F32, 4, 3, 3), packed.logical());
    assertEquals(
        "t_zero_point", find(int8(4, 6, 4).add("t_zero_point", DType.I8, 4)).zeroPoint().name());
    // A scalar and tensors without elements.
    assertEquals(0, find(int4(new long[] {}, 1, 1)).group());
    assertEquals(0, find(int8(0, 5, 0)).group());
    assertEquals(0, find(int8(5, 0, 5)).group());
  }

  @Test
  void theRecordedGroupSizeComesFirst() throws IOException {
    // 10 columns in 2 groups: of 5, or of 8 and 2.
    assertEquals(5, find(int8(3, 10, 3, 2)).group());
    assertEquals(8, find(int8(3, 10, 3, 2).group("8")).group());
    // One that does not give this many groups is another tensor's.
    assertEquals(5, find(int8(3, 10, 3, 2).group("32")).group());
    assertEquals(5, find(int8(3, 10, 3, 2).group("-8")).group());
    assertEquals(5, find(int8(3, 10, 3, 2).group(Long.toString(Long.MAX_VALUE))).group());
    // 11 columns in 3 groups: 4 is the power of two.
    assertEquals(4, find(int8(3, 11, 3, 3)).group());
    // Groups of int4 end with a byte: 9 columns in 3 groups are not 3 times 3, but 4, 4 and 1.
    assertEquals(4, find(int4(new long[] {2, 9}, 10, 2, 3)).group());
    assertEquals(4, find(int4(new long[] {2, 9}, 10, 2, 3).group("3")).group());
  }

  @Test
  void scalesThatDoNotFit() {
    assertDamaged(int8(4, 6, 0), "0 scales");
    assertDamaged(int8(4, 6, 3), "3 scales");
    assertDamaged(int8(4, 6, 5), "5 scales");
    assertDamaged(int8(4, 6, 4, 5), "group size is unknown");
    assertDamaged(int8(4, 6, 4, 7), "group size is unknown");
    assertDamaged(int8(4, 6, 4, 0), "0 scales");
    assertDamaged(int8(4, 6, 4, 1L << 50), "group size is unknown");
    // Blocks of rows and columns, as many as there are rows.
    assertDamaged(int8(4, 6, 2, 2), "4 scales of shape [2, 2] do not fit a tensor of 4 rows");
    assertDamaged(int8(3, 10, 3, 2).group("two"), "is not a number");
    assertDamaged(int8(3, 10, 3, 2).group("9223372036854775808"), "is not a number");
    // An odd group of int4 that no power of two replaces.
    assertDamaged(int4(new long[] {2, 15}, 16, 2, 5).group("3"), "unknown");
  }

  @Test
  void zeroPointsThatDoNotFit() {
    assertDamaged(int8(4, 6, 4).add("t_zero_point", DType.I8, 3), "zero points");
    assertDamaged(int8(4, 6, 4).add("t_zero_point", DType.I8, 0), "zero points");
    assertDamaged(int8(4, 6, 4).add("t_zero_point", DType.F32, 4), "zero points");
    assertDamaged(int8(4, 6, 4).add("t_zero_point", DType.U8, 4), "zero points");
  }

  @Test
  void shapesThatLie() {
    assertDamaged(int4(new long[] {4, 7}, 12, 4), "does not fit its 12 bytes");
    assertDamaged(int4(new long[] {4, -6}, 12, 4), "impossible");
    assertDamaged(int4(new long[] {-4, -6}, 12, 4), "impossible");
    assertDamaged(int4(new long[] {0, 6}, 12, 4), "does not fit");
    assertDamaged(int4(new long[] {}, 12, 1), "does not fit");
    assertDamaged(int4(new long[] {1L << 32, 1L << 32}, 12, 1), "impossible");
    assertDamaged(int4(new long[] {1L << 62, 4}, 0, 1), "impossible");
    assertDamaged(int4(new long[] {Long.MAX_VALUE}, 12, 1), "impossible");
    assertDamaged(int4(new long[] {1L << 60, 1}, 0, 1), "does not fit");
    assertDamaged(int4(new long[] {Long.MIN_VALUE, 2}, 12, 1), "impossible");
    assertDamaged(int4(new long[65], 0, 1), "at most 64 numbers");
    Described matrix = new Described().add("t", DType.U8, 12).add("t_scale", DType.F32, 1);
    assertDamaged(matrix.add("t_shape", DType.I64, 1, 2), "list");
    Described huge = new Described().add("t", DType.U8, 12).add("t_scale", DType.F32, 1);
    assertDamaged(huge.add("t_shape", DType.I64, 1L << 50), "list");
  }

  private static Described packed(long rows, long words, long... shape) {
    return new Described()
        .add("t_packed", DType.I32, rows, words)
        .shape("t_shape", shape)
        .add("t_scale", DType.BF16, rows, 1);
  }

  private static void assertPackedDamaged(Described checkpoint, String part) {
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> QuantizedTensor.find(checkpoint));
    assertTrue(e.getMessage().contains("'model.test'"), e.getMessage());
    assertTrue(e.getMessage().contains("'t_packed'"), e.getMessage());
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void packedWordsThatFit() throws IOException {
    QuantizedTensor four = find(packed(3, 2, 3, 9));
    assertEquals(Encoding.PACKED_INT4, four.encoding());
    assertEquals(TensorInfo.of("t", DType.F32, 3, 9), four.logical());
    assertEquals(Set.of("t_packed", "t_scale", "t_shape"), four.parts());
    assertEquals(8, four.encoding().rowBytes(9));
    assertEquals(Encoding.PACKED_INT8, find(packed(3, 3, 3, 9)).encoding());
    QuantizedTensor asymmetric = find(packed(9, 2, 9, 9).add("t_zero_point", DType.I32, 2, 1));
    assertEquals("t_zero_point", asymmetric.zeroPoint().name());
    QuantizedTensor indexed = find(packed(3, 1, 3, 2).index("t_g_idx", 0, 0));
    assertTrue(indexed.parts().contains("t_g_idx"));
    // Without a shape there is no telling how many values the last word has.
    Described shapeless =
        new Described().add("t_packed", DType.I32, 3, 2).add("t_scale", DType.BF16, 3, 1);
    assertEquals(Map.of(), QuantizedTensor.find(shapeless));
  }

  @Test
  void packedWordsThatLie() {
    assertPackedDamaged(packed(3, 2, 3, 17), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2, 4, 9), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2, 3, -9), "impossible");
    assertPackedDamaged(packed(3, 2, -3, -9), "impossible");
    assertPackedDamaged(packed(3, 2, 3, Long.MAX_VALUE), "impossible");
    assertPackedDamaged(packed(3, 2, 1L << 32, 1L << 32), "impossible");
    assertPackedDamaged(packed(3, 2, 3, 1L << 59), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2, 0, 9), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2, 27), "does not fit words of [3, 2]");
    assertPackedDamaged(packed(3, 2, new long[65]), "at most 64 numbers");
    assertPackedDamaged(packed(3, 2, 3, 9).add("t_scale", DType.F16, 2, 1), "2 scales of shape");
    assertPackedDamaged(packed(3, 2, 3, 9).add("t_scale", DType.F16, 1, 3), "3 scales of shape");
    assertPackedDamaged(
        packed(3, 2, 3, 9).add("t_scale", DType.F16, 3, 7), "group size is unknown");
    for (long[] shape : new long[][] {{1, 2}, {2, 1}, {3, 1}, {1}, {0, 1}, {1, 1, 1}}) {
      assertPackedDamaged(
          packed(3, 2, 3, 9).add("t_zero_point", DType.I32, shape), "zero points do not fit");
    }
    assertPackedDamaged(packed(3, 2, 3, 9).index("t_g_idx", 0, 0, 0), "'t_g_idx' does not fit");
    assertPackedDamaged(packed(3, 2, 3, 9).add("t_g_idx", DType.I64, 9), "'t_g_idx' does not fit");
    CheckpointException ordered =
        assertThrows(
            CheckpointException.class,
            () -> QuantizedTensor.find(packed(3, 1, 3, 3).index("t_g_idx", 0, 1, 0)));
    assertTrue(ordered.getMessage().contains("activation order"), ordered.getMessage());
  }

  @Test
  void float8ThatDoesNotFit() {
    Described float8 =
        new Described().add("t", DType.F8_E4M3, 4, 6).add("t_scale", DType.F32, 4, 1);
    assertDamaged(float8.add("t_zero_point", DType.I8, 4, 1), "no zero points");
    Described blocks =
        new Described().add("t", DType.F8_E4M3, 4, 6).add("t_scale", DType.F32, 2, 2);
    assertDamaged(blocks, "4 scales of shape [2, 2] do not fit a tensor of 4 rows");
  }

  @Test
  void whatOnlyLooksAlikeIsNotQuantized() throws IOException {
    Described plain =
        new Described()
            .add("a", DType.F32, 2, 2)
            .add("a_scale", DType.F32, 2)
            .add("b", DType.I8, 2, 2)
            .add("b_scale", DType.F64, 2)
            .add("c", DType.U8, 2, 2)
            .add("c_scale", DType.F32, 2)
            .add("d_scale", DType.F32, 2)
            .add("e", DType.U8, 2, 2)
            .add("e_scale", DType.F32, 2)
            .add("e_shape", DType.I32, 2);
    assertEquals(Map.of(), QuantizedTensor.find(plain));
  }

  @ParameterizedTest
  @CsvSource({
    "a.weight, I8, a.weight_scale, F32", // ours, compressed-tensors
    "a.weight, U8, a.weight_scale, F32",
    "a.weight, F8_E4M3, a.weight_scale, F32",
    "a.weight, F8_E4M3, a.weight_scale_inv, F32", // DeepSeek
    "a.weight, U8, a.weight_codebook, F32", // ours, clustered
    "a.weight_packed, I32, a.weight_shape, I64",
    "a.qweight, I32, a.qzeros, I32", // GPTQ, AWQ
    "a.weight, I8, a.SCB, F32", // bitsandbytes, 8 bits
    "a.weight, U8, a.weight.absmax, F32" // bitsandbytes, 4 bits
  })
  void signsOfQuantization(String name, DType dtype, String beside, DType besideType) {
    Described checkpoint =
        new Described().add("x.weight", DType.F32, 2, 2).add(beside, besideType, 2);
    assertEquals(Optional.empty(), QuantizedTensor.signOfQuantization(checkpoint));
    checkpoint.add(name, dtype, 2, 2);
    assertEquals(Optional.of(name), QuantizedTensor.signOfQuantization(checkpoint));
  }

  @Test
  void noSignsOfQuantization() {
    Described plain =
        new Described()
            .add("a.weight", DType.F32, 2, 2)
            .add("a.weight_scale", DType.F32, 2) // a learned scale
            .add("position_ids", DType.I64, 10)
            .add("mask", DType.BOOL, 10)
            .add("logit_scale", DType.F32)
            .add("h.qweight", DType.F32, 2, 2)
            .add("i", DType.I8, 4);
    assertEquals(Optional.empty(), QuantizedTensor.signOfQuantization(plain));
  }
}
