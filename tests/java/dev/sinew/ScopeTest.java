package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.internal.Handle;
import org.junit.jupiter.api.Test;

class ScopeTest {
  private static Tensor tensor() {
    return Tensor.of(new float[] {1, 2}, 2);
  }

  @Test
  void closesWhatIsStillInIt() {
    Tensor outside = tensor();
    Tensor kept;
    Tensor inside;
    try (Scope scope = new Scope()) {
      inside = scope.add(tensor());
      kept = scope.allocate(Device.cpu(), DType.I8, 4);
      assertSame(kept, scope.keep(kept));
      assertThrows(IllegalArgumentException.class, () -> scope.keep(kept));
      assertThrows(IllegalArgumentException.class, () -> scope.keep(outside));
    }
    assertTrue(inside.isClosed());
    assertFalse(kept.isClosed());
    assertFalse(outside.isClosed());
    kept.close();
    outside.close();
  }

  @Test
  void holdsPackedWeights() {
    PackedWeights kept;
    PackedWeights inside;
    try (Scope scope = new Scope();
        Tensor weight = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2)) {
      inside = scope.add(PackedWeights.dense(weight));
      kept = scope.add(PackedWeights.dense(weight));
      PackedWeights same = kept;
      assertSame(kept, scope.keep(kept));
      assertThrows(IllegalArgumentException.class, () -> scope.keep(same));
    }
    assertTrue(inside.isClosed());
    assertFalse(kept.isClosed());
    kept.close();
  }

  @Test
  void closesAfterAnException() {
    Tensor[] inside = new Tensor[1];
    assertThrows(
        ArithmeticException.class,
        () -> {
          try (Scope scope = new Scope()) {
            inside[0] = scope.add(tensor());
            throw new ArithmeticException();
          }
        });
    assertTrue(inside[0].isClosed());
  }

  @Test
  void takesNothingOnceClosed() {
    Scope scope = new Scope();
    scope.close();
    scope.close();
    long live = Handle.live();
    assertThrows(IllegalStateException.class, () -> scope.allocate(Device.cpu(), DType.F32, 1000));
    assertEquals(live, Handle.live(), "allocated and lost");
    try (Tensor tensor = tensor()) {
      assertThrows(IllegalStateException.class, () -> scope.add(tensor));
      assertFalse(tensor.isClosed());
    }
  }

  @Test
  void tensorsInUseDoNotKeepOthersOpen() {
    try (Tensor first = tensor();
        Tensor second = tensor();
        Tensor third = tensor()) {
      Scope scope = new Scope();
      scope.add(first);
      scope.add(second);
      scope.add(third);
      second.withBuffer(
          0,
          8,
          a ->
              third.withBuffer(
                  0,
                  8,
                  b -> {
                    IllegalStateException e =
                        assertThrows(IllegalStateException.class, scope::close);
                    assertEquals(1, e.getSuppressed().length);
                  }));
      assertTrue(first.isClosed());
      assertFalse(second.isClosed());
    }
  }

  @Test
  void aTensorAddedTwiceOrClosedBeforeIsFine() {
    try (Scope scope = new Scope()) {
      Tensor tensor = scope.add(tensor());
      scope.add(tensor);
      scope.add(tensor()).close();
    }
  }
}
