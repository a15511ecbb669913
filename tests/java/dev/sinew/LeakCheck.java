package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Runs around every test of the suite, found through META-INF/services: no test may leave a tensor
 * or device open, nor leave one to the garbage collector.
 */
public final class LeakCheck implements BeforeEachCallback, AfterEachCallback {
  private static final ExtensionContext.Namespace NAMESPACE =
      ExtensionContext.Namespace.create(LeakCheck.class);

  /** On tests of the cleaner itself: what they leave open has to be freed, but by the cleaner. */
  @Retention(RetentionPolicy.RUNTIME)
  @Target(ElementType.METHOD)
  public @interface LeaksOnPurpose {}

  private record Counts(long handles, long tensors, long leaked) {
    static Counts now() {
      return new Counts(Handle.live(), SinewNative.sn_live_tensors(), Handle.leaked());
    }
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    // The shared device is never closed, so it exists before anything is counted.
    Device.cpu();
    context.getStore(NAMESPACE).put("counts", Counts.now());
  }

  @Override
  public void afterEach(ExtensionContext context) {
    Counts before = context.getStore(NAMESPACE).get("counts", Counts.class);
    Counts after = Counts.now();
    assertEquals(before.handles, after.handles, "tensors or devices left open by this test");
    assertEquals(before.tensors, after.tensors, "native tensors left open by this test");
    if (!context.getRequiredTestMethod().isAnnotationPresent(LeaksOnPurpose.class)) {
      assertEquals(before.leaked, after.leaked, "handles left to the garbage collector");
    }
  }
}
