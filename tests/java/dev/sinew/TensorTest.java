package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class TensorTest {
  private static void assertMessage(Throwable e, String... parts) {
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), "'" + part + "' is not in: " + e.getMessage());
    }
  }

  @Test
  void shapeRowsAndColumns() {
    long[][] cases = {
      // shape..., elements, rows, cols
      {1, 1, 1},
      {7, 7, 1, 7},
      {3, 5, 15, 3, 5},
      {2, 3, 4, 24, 2, 12},
      {0, 0, 1, 0},
      {0, 4, 0, 0, 0},
      {4, 0, 0, 4, 0}
    };
    for (long[] c : cases) {
      long[] shape = java.util.Arrays.copyOf(c, c.length - 3);
      try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.I16, shape)) {
        assertArrayEquals(shape, tensor.shape());
        assertEquals(c[c.length - 3], tensor.elements());
        assertEquals(2 * c[c.length - 3], tensor.byteSize());
        assertEquals(c[c.length - 2], tensor.rows());
        assertEquals(c[c.length - 1], tensor.cols());
        assertSame(Device.cpu(), tensor.device());
        assertEquals(DType.I16, tensor.dtype());
      }
    }
  }

  @Test
  void theShapeCannotBeChangedFromOutside() {
    long[] shape = {2, 3};
    try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.F32, shape)) {
      shape[0] = 100;
      tensor.shape()[1] = 100;
      assertArrayEquals(new long[] {2, 3}, tensor.shape());
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 63, 64, 4096, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20})
  void memoryIsZeroedAndAligned(long bytes) {
    for (int round = 0; round < 2; round++) { // the second time memory may come back used
      try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.U8, bytes)) {
        assertEquals(0, tensor.address() % (bytes >= 4 << 20 ? 2 << 20 : 64));
        byte[] content = tensor.toBytes();
        assertArrayEquals(new byte[(int) bytes], content);
        java.util.Arrays.fill(content, (byte) 0xff);
        tensor.copyFrom(0, ByteBuffer.wrap(content));
      }
    }
  }

  @Test
  void impossibleShapesAreRefused() {
    assertMessage(
        assertThrows(
            IllegalArgumentException.class, () -> Tensor.allocate(Device.cpu(), DType.F32, 2, -1)),
        "-1");
    assertThrows(
        IllegalArgumentException.class,
        () -> Tensor.allocate(Device.cpu(), DType.F32, 1L << 40, 1L << 40));
    assertThrows(
        IllegalArgumentException.class, () -> Tensor.allocate(Device.cpu(), DType.F64, 1L << 60));
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> Tensor.allocate(Device.cpu(), DType.U8, new long[33])),
        "33");
    Tensor.allocate(Device.cpu(), DType.U8, new long[32]).close();
    assertMessage(
        assertThrows(
            OutOfMemoryError.class, () -> Tensor.allocate(Device.cpu(), DType.U8, 1L << 62)),
        Long.toString(1L << 62));
    assertThrows(NullPointerException.class, () -> Tensor.allocate(null, DType.U8, 1));
  }

  @Test
  void ofTakesExactlyTheValuesOfTheShape() {
    try (Tensor tensor = Tensor.of(new float[] {1, -2, 3, 4, 5, 6}, 2, 3)) {
      assertArrayEquals(new float[] {1, -2, 3, 4, 5, 6}, tensor.toFloats());
    }
    try (Tensor scalar = Tensor.of(new float[] {7})) {
      assertEquals(1, scalar.elements());
      assertArrayEquals(new float[] {7}, scalar.toFloats());
    }
    assertMessage(
        assertThrows(IllegalArgumentException.class, () -> Tensor.of(new float[] {1, 2, 3}, 2, 2)),
        "3 values",
        "[2, 2]");
  }

  @Test
  void closingTwiceIsFineAndUseAfterwardsIsRefused() {
    Tensor tensor = Tensor.of(new float[] {1, 2}, 2);
    assertFalse(tensor.isClosed());
    tensor.close();
    tensor.close();
    assertTrue(tensor.isClosed());
    assertEquals("Tensor(F32 [2], closed)", tensor.toString());
    assertEquals(8, tensor.byteSize());
    assertMessage(assertThrows(IllegalStateException.class, tensor::toFloats), "closed");
    assertThrows(IllegalStateException.class, tensor::toBytes);
    assertThrows(IllegalStateException.class, () -> tensor.view(0, 1));
    assertThrows(IllegalStateException.class, () -> tensor.slice(0, 1));
    assertThrows(IllegalStateException.class, () -> tensor.copyFrom(0, ByteBuffer.allocate(4)));
    assertThrows(IllegalStateException.class, () -> tensor.copyTo(0, ByteBuffer.allocate(4)));
    assertThrows(IllegalStateException.class, () -> tensor.withBuffer(0, 0, b -> {}));
    try (Tensor other = Tensor.of(new float[] {1, 2}, 2)) {
      assertThrows(IllegalStateException.class, () -> Ops.pruneThreshold(tensor, 0, other));
      assertThrows(IllegalStateException.class, () -> Ops.pruneThreshold(other, 0, tensor));
    }
  }

  @Test
  void aLentBufferKeepsTheTensorOpen() {
    try (Tensor tensor = Tensor.of(new float[] {1, 2}, 2)) {
      tensor.withBuffer(
          0,
          8,
          buffer -> {
            assertMessage(assertThrows(IllegalStateException.class, tensor::close), "in use");
            assertEquals(2, buffer.getFloat(4));
          });
      assertThrows(
          ArithmeticException.class,
          () ->
              tensor.withBuffer(
                  0,
                  8,
                  buffer -> {
                    throw new ArithmeticException();
                  }));
      assertArrayEquals(new float[] {1, 2}, tensor.toFloats());
    }
  }

  @Test
  void buffersAreLittleEndianAndOfTheRangeAskedFor() {
    try (Tensor tensor = Tensor.of(new float[] {1, 2, 3}, 3)) {
      tensor.withBuffer(
          4,
          8,
          buffer -> {
            assertEquals(ByteOrder.LITTLE_ENDIAN, buffer.order());
            assertEquals(0, buffer.position());
            assertEquals(8, buffer.remaining());
            assertEquals(8, buffer.capacity());
            buffer.putFloat(0, 20);
          });
      assertArrayEquals(new float[] {1, 20, 3}, tensor.toFloats());
      tensor.withBuffer(12, 0, buffer -> assertEquals(ByteOrder.LITTLE_ENDIAN, buffer.order()));
      for (long[] range : new long[][] {{-1, 1}, {0, -1}, {12, 1}, {1, 12}, {Long.MAX_VALUE, 4}}) {
        assertMessage(
            assertThrows(
                IllegalArgumentException.class,
                () -> tensor.withBuffer(range[0], (int) range[1], b -> {})),
            "12 bytes");
      }
    }
  }

  @Test
  void copiesLeaveTheRestAlone() {
    try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.U8, 10)) {
      ByteBuffer source = ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5}).position(1).limit(4);
      tensor.copyFrom(5, source);
      assertEquals(4, source.position());
      assertArrayEquals(new byte[] {0, 0, 0, 0, 0, 2, 3, 4, 0, 0}, tensor.toBytes());
      ByteBuffer target = ByteBuffer.allocateDirect(4).position(1);
      tensor.copyTo(6, target);
      assertFalse(target.hasRemaining());
      assertEquals(3, target.get(1));
      assertEquals(0, target.get(3));
      assertThrows(
          IllegalArgumentException.class, () -> tensor.copyFrom(8, ByteBuffer.allocate(3)));
      assertThrows(IllegalArgumentException.class, () -> tensor.copyTo(8, ByteBuffer.allocate(3)));
    }
  }

  @Test
  void viewsShareMemoryAndOutliveTheirParent() {
    Tensor parent = Tensor.of(new float[] {0, 1, 2, 3, 4, 5}, 2, 3);
    Tensor view = parent.view(1, 2, 2);
    assertEquals(parent.address() + 4, view.address());
    Tensor viewOfView = view.view(2, 2);
    parent.close();
    assertFalse(view.isClosed());
    viewOfView.copyFrom(0, ByteBuffer.wrap(Numbers.encode(DType.F32, 30)));
    view.close();
    assertArrayEquals(new float[] {30, 4}, viewOfView.toFloats());
    viewOfView.close();
  }

  @Test
  void viewsLieInsideTheirParent() {
    try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.F32, 6)) {
      tensor.view(6, 0).close();
      tensor.view(0).close();
      for (long[] bad : new long[][] {{-1, 1}, {6, 1}, {0, 7}, {5, 2}, {Long.MAX_VALUE, 3}}) {
        assertThrows(IllegalArgumentException.class, () -> tensor.view(bad[0], bad[1]));
      }
      assertThrows(IllegalArgumentException.class, () -> tensor.view(0, -1, -1));
      assertThrows(IllegalArgumentException.class, () -> tensor.view(0, 1L << 61, 2));
    }
  }

  @Test
  void slicesAreRowsOfTheFirstDimension() {
    try (Tensor tensor = Tensor.of(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 3, 2, 2);
        Tensor middle = tensor.slice(1, 2);
        Tensor rest = tensor.slice(1, 3);
        Tensor none = tensor.slice(3, 3)) {
      assertArrayEquals(new long[] {1, 2, 2}, middle.shape());
      assertArrayEquals(new float[] {4, 5, 6, 7}, middle.toFloats());
      assertArrayEquals(new float[] {4, 5, 6, 7, 8, 9, 10, 11}, rest.toFloats());
      assertArrayEquals(new long[] {0, 2, 2}, none.shape());
      for (long[] bad : new long[][] {{-1, 1}, {2, 1}, {0, 4}, {4, 4}}) {
        assertMessage(
            assertThrows(IllegalArgumentException.class, () -> tensor.slice(bad[0], bad[1])),
            "[3, 2, 2]");
      }
    }
    try (Tensor scalar = Tensor.allocate(Device.cpu(), DType.F32);
        Tensor empty = Tensor.allocate(Device.cpu(), DType.F32, 0, 3);
        Tensor none = empty.slice(0, 0)) {
      assertThrows(IllegalArgumentException.class, () -> scalar.slice(0, 1));
      assertEquals(0, none.elements());
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F64", "F32", "F16", "BF16"})
  void toFloatsOfEveryFloatingType(DType dtype) {
    double[] values = Numbers.weights(new Random(7), 1000);
    try (Tensor tensor = Numbers.tensor(Device.cpu(), dtype, values, 10, 100)) {
      double[] held = Numbers.rounded(dtype, values);
      float[] floats = tensor.toFloats();
      for (int i = 0; i < values.length; i++) {
        assertEquals((float) held[i], floats[i]);
      }
      if (dtype == DType.F64) {
        assertArrayEquals(values, tensor.toDoubles());
      } else {
        assertMessage(
            assertThrows(IllegalArgumentException.class, tensor::toDoubles), dtype.name(), "F64");
      }
      assertThrows(IllegalArgumentException.class, tensor::toLongs);
    }
  }

  @Test
  void integersComeOutAsLongsOrBytesOnly() {
    try (Tensor tensor = Numbers.tensor(Device.cpu(), DType.I64, new double[] {1, -2, 3e9}, 3)) {
      assertArrayEquals(new long[] {1, -2, 3_000_000_000L}, tensor.toLongs());
      assertMessage(assertThrows(IllegalArgumentException.class, tensor::toFloats), "I64");
    }
  }

  // Memory that nobody touches is not there, so this takes a few huge pages only.
  @Test
  void elementsBeyondTwoToThe31() {
    long size = 3L << 30;
    try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.U8, 3, 1 << 30);
        Tensor last = tensor.slice(2, 3);
        Tensor end = tensor.view(size - 2, 2)) {
      assertEquals(size, tensor.byteSize());
      tensor.copyFrom(0, ByteBuffer.wrap(new byte[] {1}));
      tensor.copyFrom(size - 1, ByteBuffer.wrap(new byte[] {9}));
      ByteBuffer target = ByteBuffer.allocate(1);
      last.copyTo((1 << 30) - 1, target);
      assertEquals(9, target.get(0));
      assertArrayEquals(new byte[] {0, 9}, end.toBytes());
      tensor.withBuffer((1L << 31) - 1, 2, buffer -> buffer.putShort((short) 0x0403));
      tensor.copyTo(1L << 31, target.clear());
      assertEquals(4, target.get(0));
      assertMessage(
          assertThrows(IllegalArgumentException.class, tensor::toBytes), Long.toString(size));
    }
  }
}
