package dev.sinew.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ClusteredTensorTest {
  private static Described clustered(long[] shape, long bytes, long... codebook) {
    return new Described()
        .add("t", DType.U8, bytes)
        .add("t_codebook", DType.F32, codebook)
        .shape("t_shape", shape);
  }

  private static ClusteredTensor find(Described checkpoint) throws IOException {
    return ClusteredTensor.find(checkpoint).get("t");
  }

  private static void assertDamaged(Described checkpoint, String part) {
    assertTimeoutPreemptively(
        Duration.ofSeconds(10),
        () -> {
          CheckpointException e =
              assertThrows(CheckpointException.class, () -> ClusteredTensor.find(checkpoint));
          assertTrue(e.getMessage().contains("'model.test'"), e.getMessage());
          assertTrue(e.getMessage().contains("'t'"), e.getMessage());
          assertTrue(e.getMessage().contains(part), e.getMessage());
        });
  }

  @Test
  void layoutsThatFit() throws IOException {
    ClusteredTensor one = find(clustered(new long[] {4, 3, 3}, 4 * 4, 1, 8));
    assertEquals(3, one.bits());
    assertEquals(4, one.rowsPerGroup());
    assertEquals(4, one.rowBytes());
    assertEquals(TensorInfo.of("t", DType.F32, 4, 3, 3), one.logical());
    for (int bits = 2; bits <= 8; bits++) {
      long bytes = 2 * ((13 * bits + 7) / 8);
      assertEquals(bits, find(clustered(new long[] {2, 13}, bytes, 2, 1 << bits)).bits());
    }
    // 10 rows in 4 groups: 3, 3, 3 and 1.
    assertEquals(3, find(clustered(new long[] {10, 4}, 10, 4, 4)).rowsPerGroup());
    assertEquals(1, find(clustered(new long[] {10, 4}, 10, 10, 4)).rowsPerGroup());
    // A list, a scalar, and tensors without elements.
    assertEquals(1, find(clustered(new long[] {9}, 3, 1, 4)).rowsPerGroup());
    assertEquals(2, find(clustered(new long[] {}, 1, 1, 4)).bits());
    assertEquals(1, find(clustered(new long[] {0, 9}, 0, 1, 4)).rowsPerGroup());
    assertEquals(9, find(clustered(new long[] {9, 0}, 0, 1, 4)).rowsPerGroup());
  }

  @Test
  void codebooksOfNoValidSize() {
    for (long entries : new long[] {0, 1, 2, 3, 12, 255, 257, 512, 1L << 40}) {
      assertDamaged(clustered(new long[] {4, 4}, 4, 1, entries), "4, 8, ... or 256 entries");
    }
    assertDamaged(clustered(new long[] {4, 4}, 4, 4), "not [groups, entries]");
    assertDamaged(clustered(new long[] {4, 4}, 4), "not [groups, entries]");
    assertDamaged(clustered(new long[] {4, 4}, 4, 1, 1, 4), "not [groups, entries]");
  }

  @Test
  void groupsThatDoNotFit() {
    assertDamaged(clustered(new long[] {4, 4}, 4, 0, 4), "0 codebooks");
    assertDamaged(clustered(new long[] {4, 4}, 4, 5, 4), "5 codebooks do not fit");
    assertDamaged(clustered(new long[] {4, 4}, 4, 3, 4), "3 codebooks"); // would be 2, 2 and none
    assertDamaged(clustered(new long[] {4, 4}, 4, 1L << 40, 4), "codebooks do not fit");
    assertDamaged(clustered(new long[] {0, 4}, 0, 2, 4), "2 codebooks");
  }

  @Test
  void shapesThatLie() {
    assertDamaged(clustered(new long[] {4, 5}, 4, 1, 4), "does not fit its 4 bytes");
    assertDamaged(clustered(new long[] {4, 4}, 4, 1, 8), "does not fit its 4 bytes");
    assertDamaged(clustered(new long[] {4, -4}, 4, 1, 4), "impossible");
    assertDamaged(clustered(new long[] {-4, -4}, 4, 1, 4), "impossible");
    assertDamaged(clustered(new long[] {0, 4}, 4, 1, 4), "does not fit");
    assertDamaged(clustered(new long[] {1L << 32, 1L << 32}, 0, 1, 4), "impossible");
    assertDamaged(clustered(new long[] {1L << 60, 1}, 0, 1, 256), "does not fit");
    assertDamaged(clustered(new long[] {1, 1L << 60}, 0, 1, 256), "does not fit");
    assertDamaged(clustered(new long[65], 0, 1, 4), "at most 64 numbers");
    Described matrix = new Described().add("t", DType.U8, 4).add("t_codebook", DType.F32, 1, 4);
    assertDamaged(matrix.add("t_shape", DType.I64, 1, 2), "list");
    Described huge = new Described().add("t", DType.U8, 4).add("t_codebook", DType.F32, 1, 4);
    assertDamaged(huge.add("t_shape", DType.I64, 1L << 50), "list");
  }

  @Test
  void scalesAndACodebook() {
    Described both = clustered(new long[] {4, 4}, 4, 1, 4).add("t_scale", DType.F32, 1);
    assertDamaged(both, "scales and a codebook");
  }

  @Test
  void whatOnlyLooksAlikeIsNotClustered() throws IOException {
    Described plain =
        new Described()
            .add("a", DType.U8, 4)
            .add("a_codebook", DType.F32, 1, 4)
            .add("b", DType.I8, 4)
            .add("b_codebook", DType.F32, 1, 4)
            .shape("b_shape", 4, 4)
            .add("c", DType.U8, 4)
            .add("c_codebook", DType.F16, 1, 4)
            .shape("c_shape", 4, 4)
            .add("d", DType.U8, 4)
            .add("d_codebook", DType.F32, 1, 4)
            .add("d_shape", DType.I32, 2);
    assertEquals(Map.of(), ClusteredTensor.find(plain));
  }
}
