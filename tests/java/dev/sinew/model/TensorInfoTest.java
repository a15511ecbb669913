package dev.sinew.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import java.util.Collections;
import org.junit.jupiter.api.Test;

class TensorInfoTest {
  @Test
  void countsElementsAndBytes() {
    TensorInfo matrix = TensorInfo.of("m", DType.F16, 3, 5, 7);
    assertEquals(105, matrix.elements());
    assertEquals(210, matrix.bytes());
    assertEquals(3, matrix.rows());
    assertEquals(35, matrix.cols());
    TensorInfo scalar = TensorInfo.of("s", DType.F64);
    assertEquals(1, scalar.elements());
    assertEquals(8, scalar.bytes());
    assertEquals(1, scalar.rows());
    assertEquals(1, scalar.cols());
    TensorInfo vector = TensorInfo.of("v", DType.I8, 9);
    assertEquals(1, vector.rows());
    assertEquals(9, vector.cols());
  }

  @Test
  void aZeroMakesAnySizesOfTheOthersHarmless() {
    TensorInfo empty = TensorInfo.of("e", DType.F32, 1L << 31, 1L << 31, 0);
    assertEquals(0, empty.elements());
    assertEquals(0, empty.bytes());
  }

  @Test
  void impossibleSizesAreRefusedWithABoundedSentence() {
    String name = "\u001b[2J" + "x".repeat(1_000_000);
    long[][] shapes = {
      {-1},
      {1L << 32, 1L << 31},
      {Long.MAX_VALUE},
      Collections.nCopies(1000, 2L).stream().mapToLong(Long::longValue).toArray()
    };
    for (long[] shape : shapes) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> TensorInfo.of(name, DType.F64, shape));
      assertTrue(e.getMessage().startsWith("tensor '\\u001b[2Jxxx"), e.getMessage());
      assertTrue(e.getMessage().length() < 400, e.getMessage());
    }
  }

  @Test
  void rangesLieWithinTheData() {
    TensorInfo info = TensorInfo.of("t", DType.F32, 2);
    info.requireRange(0, 8);
    info.requireRange(8, 0);
    info.requireRange(7, 1);
    long[][] outside = {{-1, 0}, {0, 9}, {8, 1}, {9, 0}, {Long.MAX_VALUE, 8}, {Long.MIN_VALUE, 8}};
    for (long[] range : outside) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class, () -> info.requireRange(range[0], (int) range[1]));
      assertEquals(
          range[1] + " bytes from " + range[0] + " on lie outside tensor 't' of 8 bytes",
          e.getMessage());
    }
  }
}
