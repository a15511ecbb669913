package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Tensor;
import dev.sinew.internal.Handle;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ArenaTest {
  @Test
  void theSameTensorsComeAgain() {
    try (Arena arena = new Arena()) {
      Tensor a = arena.allocate(DType.F32, 2, 3);
      Tensor b = arena.allocate(DType.F32, 2, 3);
      Tensor c = arena.allocate(DType.BF16, 2, 3);
      Tensor empty = arena.allocate(DType.F32, 0, 3);
      assertNotEquals(a.address(), b.address());
      assertEquals(DType.BF16, c.dtype());
      assertEquals(0, empty.elements());
      arena.reset();
      long created = Handle.created();
      assertSame(a, arena.allocate(DType.F32, 2, 3));
      assertSame(b, arena.like(a));
      assertSame(c, arena.like(c));
      assertSame(empty, arena.like(empty));
      assertEquals(created, Handle.created());
    }
  }

  @Test
  void releasedMemoryIsUsedAgainForAnyShape() {
    try (Arena arena = new Arena()) {
      Tensor a = arena.allocate(DType.F32, 100);
      arena.release(a);
      Tensor b = arena.allocate(DType.F32, 7, 9);
      assertEquals(a.address(), b.address());
      assertEquals(400, arena.bytes());
      Tensor c = arena.allocate(DType.F32, 100);
      assertNotEquals(a.address(), c.address());
      assertEquals(800, arena.bytes());
      // Twice is once.
      arena.release(b);
      arena.release(b);
      assertEquals(a.address(), arena.allocate(DType.F32, 1).address());
      assertEquals(1200, 400 + 400 + bytesOf(arena.allocate(DType.F32, 100)));
    }
  }

  private static long bytesOf(Tensor tensor) {
    return tensor.byteSize();
  }

  @Test
  void smallTensorsDoNotKeepLargeMemory() {
    try (Arena arena = new Arena()) {
      arena.release(arena.allocate(DType.F32, 1 << 20));
      arena.allocate(DType.F32, 8);
      long bytes = arena.bytes();
      arena.allocate(DType.F32, 1 << 20);
      assertEquals(bytes, arena.bytes());
    }
  }

  @Test
  void otherShapesOfATensorShareItsMemory() {
    try (Arena arena = new Arena();
        Tensor input = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3)) {
      Tensor a = arena.allocate(DType.F32, 2, 3);
      Tensor flat = arena.reshape(a, 6);
      assertEquals(a.address(), flat.address());
      arena.release(a);
      assertNotEquals(a.address(), arena.allocate(DType.F32, 6).address());
      arena.release(flat);
      assertEquals(a.address(), arena.allocate(DType.F32, 3, 2).address());
      // A tensor of somebody else is copied.
      Tensor copy = arena.reshape(input, 3, 2);
      assertArrayEquals(input.toFloats(), copy.toFloats());
      assertNotEquals(input.address(), copy.address());
      arena.release(input);
      assertFalse(input.isClosed());
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> arena.reshape(input, 4, 2));
      assertEquals("a tensor of shape [2, 3] cannot take the shape [4, 2]", e.getMessage());
    }
  }

  @Test
  void anySequenceOfShapesSettles() {
    Random random = new Random(7);
    List<long[]> shapes = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      shapes.add(new long[] {1 + random.nextInt(40), 1 + random.nextInt(2000)});
    }
    try (Arena arena = new Arena()) {
      long created = -1;
      for (int round = 0; round < 30; round++) {
        created = Handle.created();
        List<Tensor> live = new ArrayList<>();
        for (int i = 0; i < shapes.size(); i++) {
          Tensor tensor = arena.allocate(DType.F32, shapes.get(i));
          assertArrayEquals(shapes.get(i), tensor.shape());
          live.forEach(other -> assertTrue(apart(tensor, other)));
          live.add(tensor);
          if (live.size() > 3) {
            arena.release(live.remove(i % 3));
          }
        }
        arena.reset();
      }
      assertEquals(created, Handle.created(), "tensors were created after 29 rounds");
    }
  }

  private static boolean apart(Tensor a, Tensor b) {
    return a.address() + a.byteSize() <= b.address() || b.address() + b.byteSize() <= a.address();
  }

  @Test
  void everNewLengthsDoNotAddUp() {
    try (Arena arena = new Arena()) {
      long live = Handle.live();
      for (int length = 1; length < 500; length++) {
        arena.allocate(DType.F32, length, 8);
        arena.reset();
      }
      assertTrue(Handle.live() - live < 100, "tensors: " + (Handle.live() - live));
      assertTrue(arena.bytes() <= 4 * 8 * 500 * 20, "bytes: " + arena.bytes());
    }
  }

  @Test
  void aTensorThatSomebodyHasClosedIsNotGivenOutAgain() {
    try (Arena arena = new Arena()) {
      Tensor a = arena.allocate(DType.F32, 5);
      a.close();
      arena.reset();
      Tensor b = arena.allocate(DType.F32, 5);
      assertNotSame(a, b);
      assertFalse(b.isClosed());
      assertEquals(5, b.toFloats().length);
    }
  }

  @Test
  void closing() {
    Arena arena = new Arena();
    Tensor a = arena.allocate(DType.F32, 5);
    arena.close();
    arena.close();
    assertTrue(a.isClosed());
    assertThrows(IllegalStateException.class, () -> arena.allocate(DType.F32, 5));
    assertThrows(IllegalStateException.class, () -> arena.like(a));
    assertThrows(IllegalStateException.class, () -> arena.reshape(a, 5));
  }
}
