package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** That the check after every test is active and finds leaks. */
class LeakCheckTest {
  private static final List<AutoCloseable> LEAKED = new ArrayList<>();

  /** Run by the launcher below only: its name does not end like that of a test. */
  static class Leaks {
    @Test
    void tensor() {
      LEAKED.add(Tensor.of(new float[] {1}, 1));
    }

    @Test
    void device() {
      LEAKED.add(Device.cpu(1));
    }

    @Test
    void nothing() {
      Tensor.of(new float[] {1}, 1).close();
    }
  }

  @Test
  void leakingTestsFail() throws Exception {
    SummaryGeneratingListener listener = new SummaryGeneratingListener();
    LauncherFactory.create()
        .execute(
            LauncherDiscoveryRequestBuilder.request().selectors(selectClass(Leaks.class)).build(),
            listener);
    for (AutoCloseable leaked : LEAKED) {
      leaked.close();
    }
    TestExecutionSummary summary = listener.getSummary();
    assertEquals(1, summary.getTestsSucceededCount());
    assertEquals(2, summary.getTestsFailedCount());
    for (TestExecutionSummary.Failure failure : summary.getFailures()) {
      assertTrue(failure.getException().getMessage().contains("left open by this test"));
    }
  }
}
