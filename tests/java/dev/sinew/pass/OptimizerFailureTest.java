package dev.sinew.pass;

import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Failures in the middle: the first one is told, nothing hangs, nothing is left. */
class OptimizerFailureTest {
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(16384, 32768);

  /** Passes that wait for each other in several ways. */
  static Stream<List<Pass>> recipes() {
    return Stream.of(
        List.of(Prune.threshold(0.1f)),
        List.of(Prune.sparsity(0.031, Prune.Scope.GLOBAL)), // ties: workers take turns
        List.of(Prune.sparsity(0.031, Prune.Scope.TENSOR), Quantize.int4(32)),
        List.of(Quantize.of(8, true, "tensor", "mse")), // turns as well
        List.of(Prune.sparsity(0.031, Prune.Scope.GLOBAL), Quantize.of(4, false, "channel", "mse")),
        List.of(Quantize.of(8, false, "channel", "percentile=99")));
  }

  private static final MemoryCheckpoint MODEL = new MemoryCheckpoint();

  static {
    Random random = new Random(1);
    MODEL.add("a.bias", DType.F32, new double[100], 100);
    for (String name : List.of("a", "b", "c")) {
      MODEL.add(name + ".weight", DType.F32, weights(random, 100_000), 10, 10_000);
    }
  }

  /** A checkpoint of its own over the same bytes. */
  private static MemoryCheckpoint model() {
    MemoryCheckpoint model = new MemoryCheckpoint();
    MODEL.tensors().values().forEach(info -> model.add(info, MODEL.bytes(info.name())));
    return model;
  }

  private static Optimizer.Options options(int threads) {
    return new Optimizer.Options(Targets.byDefault(), threads, false, Optimizer.Progress.NONE);
  }

  /** Runs with a deadline, and expects a failure that leaves no thread and no open writer. */
  private static Throwable failure(
      Checkpoint model, List<Pass> passes, int threads, MemoryWriter writer) {
    Throwable failure =
        assertTimeoutPreemptively(
            Duration.ofSeconds(30),
            () ->
                assertThrows(
                    Throwable.class,
                    () -> Optimizer.optimize(model, passes, options(threads), writer, TINY)));
    assertFalse(writer.committed);
    assertTrue(writer.closed);
    return failure;
  }

  @AfterEach
  void noWorkerIsLeft() throws InterruptedException {
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("sinew-worker")) {
        // A thread that has ended its work may still be ending itself.
        thread.join(1000);
        assertFalse(thread.isAlive(), thread + " is left");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void aReadThatFails(List<Pass> passes) throws IOException {
    MemoryCheckpoint whole = model();
    Optimizer.optimize(whole, passes, options(1), new MemoryWriter(), TINY);
    int reads = (int) whole.reads.get();
    for (int threads : new int[] {1, 2, 8}) {
      for (int n : new int[] {0, 1, 2, reads / 3, reads / 2, reads - 2, reads - 1}) {
        MemoryCheckpoint model = model();
        AtomicInteger count = new AtomicInteger();
        IOException broken = new IOException("read " + n);
        model.hook =
            (tensor, offset, bytes) -> {
              if (count.getAndIncrement() == n) {
                throw broken;
              }
            };
        assertSame(broken, failure(model, passes, threads, new MemoryWriter()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void aWriteThatFails(List<Pass> passes) {
    for (int threads : new int[] {1, 8}) {
      for (int n : new int[] {0, 1, 10, 20}) {
        AtomicInteger count = new AtomicInteger();
        IOException full = new IOException("no space left");
        MemoryWriter writer = new MemoryWriter();
        writer.hook =
            (tensor, offset) -> {
              if (count.getAndIncrement() == n) {
                throw full;
              }
            };
        assertSame(full, failure(model(), passes, threads, writer));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void nanAndInfinityNameTheTensor(List<Pass> passes) {
    for (int threads : new int[] {1, 8}) {
      for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
        MemoryCheckpoint model = model();
        double[] late = weights(new Random(2), 30_000);
        late[29_999] = bad;
        model.add("z\u00e9.weight", DType.F16, late, 3, 10_000);
        Throwable failure = failure(model, passes, threads, new MemoryWriter());
        assertTrue(failure instanceof CheckpointException, failure.toString());
        String message = failure.getMessage();
        assertTrue(message.contains("'folder/model.test' has NaN or infinity"), message);
        assertTrue(message.contains("tensor 'z\u00e9.weight'"), message);
        assertTrue(message.contains("--skip"), message);
      }
    }
  }

  @Test
  void errorsAndDefectsComeThroughAsWell() {
    for (Throwable broken : List.of(new OutOfMemoryError("test"), new IllegalStateException("x"))) {
      MemoryCheckpoint model = model();
      AtomicInteger count = new AtomicInteger();
      model.hook =
          (tensor, offset, bytes) -> {
            if (count.getAndIncrement() == 25) {
              if (broken instanceof Error error) {
                throw error;
              }
              throw (RuntimeException) broken;
            }
          };
      List<Pass> passes = List.of(Prune.sparsity(0.031, Prune.Scope.GLOBAL));
      assertSame(broken, failure(model, passes, 4, new MemoryWriter()));
    }
  }

  @Test
  void anOutputThatCannotBeOpenedOrCommitted() {
    IOException broken = new IOException("no");
    List<Pass> passes = List.of(Quantize.of(8, false, "tensor", "mse"));
    assertSame(
        broken,
        assertThrows(
            IOException.class,
            () ->
                Optimizer.optimize(
                    model(),
                    passes,
                    options(2),
                    plan -> {
                      throw broken;
                    })));
    MemoryWriter writer = new MemoryWriter();
    Optimizer.Output failsToCommit =
        plan -> {
          writer.create(plan);
          return new CheckpointWriter() {
            @Override
            public void write(String tensor, long offset, java.nio.ByteBuffer source)
                throws IOException {
              writer.write(tensor, offset, source);
            }

            @Override
            public void commit() throws IOException {
              throw broken;
            }

            @Override
            public void close() {
              writer.close();
            }
          };
        };
    assertSame(
        broken,
        assertThrows(
            IOException.class,
            () -> Optimizer.optimize(model(), passes, options(2), failsToCommit)));
    assertTrue(writer.closed);
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void anInterruptEndsTheWork(List<Pass> passes) throws Exception {
    for (int at : new int[] {1, 12, 31}) {
      MemoryCheckpoint model = model();
      AtomicReference<Throwable> failure = new AtomicReference<>();
      AtomicReference<Thread> runner = new AtomicReference<>();
      AtomicInteger count = new AtomicInteger();
      model.hook =
          (tensor, offset, bytes) -> {
            if (count.getAndIncrement() == at) {
              runner.get().interrupt();
            }
          };
      MemoryWriter writer = new MemoryWriter();
      AtomicInteger interrupted = new AtomicInteger();
      Thread thread =
          new Thread(
              () -> {
                try {
                  Optimizer.optimize(model, passes, options(4), writer, TINY);
                } catch (Throwable e) {
                  failure.set(e);
                }
                interrupted.set(Thread.currentThread().isInterrupted() ? 1 : 0);
              });
      runner.set(thread);
      thread.start();
      thread.join(30_000);
      assertFalse(thread.isAlive(), "hangs");
      Throwable e = failure.get();
      assertTrue(e instanceof InterruptedIOException, String.valueOf(e));
      assertEquals("the work was interrupted", e.getMessage());
      assertEquals(1, interrupted.get(), "the interrupt was swallowed");
      assertFalse(writer.committed);
      assertTrue(writer.closed);
    }
  }

  @Test
  void anInterruptThatClosesTheFileIsStillAnInterrupt(@TempDir Path folder) throws Exception {
    MemoryCheckpoint source = model();
    Path in = folder.resolve("in.safetensors");
    Path out = folder.resolve("out.safetensors");
    Optimizer.optimize(source, List.of(), options(1), plan -> SafeTensors.create(in, plan, false));
    for (int round = 0; round < 20; round++) {
      AtomicReference<Throwable> failure = new AtomicReference<>();
      long delay = round;
      Thread thread =
          new Thread(
              () -> {
                try (Checkpoint model = SafeTensors.open(in)) {
                  Optimizer.optimize(
                      model,
                      List.of(Quantize.of(8, true, "tensor", "mse")),
                      options(4),
                      plan -> SafeTensors.create(out, plan, true),
                      TINY);
                } catch (Throwable e) {
                  failure.set(e);
                }
              });
      thread.start();
      Thread.sleep(delay);
      thread.interrupt();
      thread.join(30_000);
      assertFalse(thread.isAlive(), "hangs");
      Throwable e = failure.get();
      if (e != null && !(e instanceof InterruptedIOException)) {
        // Outside the work itself: while a file is opened, begun or made durable.
        assertTrue(e instanceof CheckpointException, e.toString());
        assertTrue(e.getMessage().toLowerCase(Locale.ROOT).contains("interrupt"), e.getMessage());
      }
      try (Stream<Path> files = Files.list(folder)) {
        assertTrue(files.noneMatch(file -> file.toString().endsWith(".tmp")));
      }
    }
  }
}
