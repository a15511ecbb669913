package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class TensorConcurrencyTest {
  private static <T> List<T> inParallel(int threads, Callable<T> task) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Future<T>> futures = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        futures.add(pool.submit(task));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(50, TimeUnit.SECONDS));
      }
      return results;
    } finally {
      pool.shutdownNow();
    }
  }

  /**
   * Calls many times or until the resource is closed under it, which has to be an
   * IllegalStateException.
   */
  private static int callUntilClosed(Runnable call) {
    for (int calls = 0; calls < 40; calls++) {
      try {
        call.run();
      } catch (IllegalStateException e) {
        assertTrue(e.getMessage().contains("closed"), e.getMessage());
        return calls;
      }
    }
    return 40;
  }

  /** Closes as soon as no call is running; every refusal has to say so. */
  private static void closeBetweenCalls(AutoCloseable resource) throws Exception {
    while (true) {
      try {
        resource.close();
        return;
      } catch (IllegalStateException e) {
        assertTrue(e.getMessage().contains("in use"), e.getMessage());
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void closingATensorUnderRunningCalls() throws Exception {
    // Memory that is unmapped when it is freed: a use after that would end the JVM.
    for (int round = 0; round < 30; round++) {
      try (Device device = Device.cpu(2);
          Tensor result = Tensor.allocate(device, DType.F64, 8)) {
        Tensor tensor = Tensor.allocate(device, DType.F32, 2 << 20);
        Tensor view = tensor.view(1 << 20, 1 << 20);
        CountDownLatch running = new CountDownLatch(2);
        Thread closer =
            new Thread(
                () -> {
                  try {
                    running.await();
                    closeBetweenCalls(tensor);
                    closeBetweenCalls(view);
                  } catch (Exception e) {
                    throw new AssertionError(e);
                  }
                });
        closer.start();
        inParallel(
            2,
            () -> {
              running.countDown();
              callUntilClosed(() -> Ops.magnitudeCount(tensor, 1));
              return callUntilClosed(() -> Ops.magnitudeCount(view, 1));
            });
        closer.join();
        assertThrows(IllegalStateException.class, () -> Ops.statistics(view, result));
      }
    }
  }

  @Test
  void closingADeviceUnderRunningCalls() throws Exception {
    for (int round = 0; round < 30; round++) {
      Device device = Device.cpu(4);
      try (Tensor tensor = Tensor.allocate(device, DType.F32, 1 << 20)) {
        CountDownLatch running = new CountDownLatch(2);
        Thread closer =
            new Thread(
                () -> {
                  try {
                    running.await();
                    closeBetweenCalls(device);
                  } catch (Exception e) {
                    throw new AssertionError(e);
                  }
                });
        closer.start();
        inParallel(
            2,
            () -> {
              running.countDown();
              return callUntilClosed(() -> Ops.magnitudeCount(tensor, 1));
            });
        closer.join();
        assertEquals(1 << 20, tensor.toFloats().length); // its memory stays
      } finally {
        device.close();
      }
    }
  }

  @Test
  void manyThreadsCloseOneTensor() throws Exception {
    for (int round = 0; round < 200; round++) {
      Tensor tensor = Tensor.allocate(Device.cpu(), DType.F32, 10);
      Tensor view = tensor.view(2, 3);
      inParallel(
          4,
          () -> {
            tensor.close();
            view.close();
            return 0;
          });
    }
  }

  @Test
  void manyThreadsShareOneDevice() throws Exception {
    double[] values = Numbers.weights(new Random(3), 300_000);
    try (Device device = Device.cpu(3);
        Tensor x = Numbers.tensor(device, DType.F32, values, 300, 1000)) {
      byte[] expected;
      try (Tensor out = Tensor.allocate(device, DType.F32, 300, 1000)) {
        Ops.pruneNM(x, 2, 4, out);
        expected = out.toBytes();
      }
      List<Integer> rounds =
          inParallel(
              8,
              () -> {
                for (int i = 0; i < 20; i++) {
                  try (Tensor out = Tensor.allocate(device, DType.F32, 300, 1000)) {
                    Ops.pruneNM(x, 2, 4, out);
                    assertArrayEquals(expected, out.toBytes());
                  }
                }
                return 20;
              });
      assertEquals(8, rounds.size());
    }
  }
}
