package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongToDoubleFunction;
import java.util.function.LongUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class CommunicatorTest {
  private static final DType[] EXCHANGED = {DType.F32, DType.F16, DType.BF16, DType.I32, DType.I8};

  /** Element i of a rank's input: so small that sums are exact in every dtype. */
  private static long input(int rank, long i) {
    return (i * 7 + rank * 5L + i / 9) % 9 - 4;
  }

  /** In double arithmetic; an average of integers is rounded half to even. */
  private static double reduced(ReduceOp op, DType dtype, int size, long i) {
    double result = input(0, i);
    for (int r = 1; r < size; r++) {
      double x = input(r, i);
      result =
          switch (op) {
            case MIN -> Math.min(result, x);
            case MAX -> Math.max(result, x);
            default -> result + x;
          };
    }
    if (op != ReduceOp.AVERAGE) {
      return result;
    }
    return dtype.isFloating() ? result / size : Math.rint(result / size);
  }

  private static void fill(Tensor tensor, LongUnaryOperator value) {
    ByteBuffer bytes = ByteBuffer.allocate((int) tensor.byteSize()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < tensor.elements(); i++) {
      float x = value.applyAsLong(i);
      switch (tensor.dtype()) {
        case F32 -> bytes.putFloat(x);
        case BF16 -> bytes.putShort((short) (Float.floatToIntBits(x) >>> 16));
        case F16 -> bytes.putShort(half(x));
        case I32 -> bytes.putInt((int) x);
        default -> bytes.put((byte) x);
      }
    }
    tensor.copyFrom(0, bytes.flip());
  }

  /** Of integers up to 2048 in magnitude. */
  private static short half(float x) {
    int bits = Float.floatToIntBits(x);
    int exponent = (bits >>> 23 & 255) - 127 + 15;
    return (short) (bits >>> 16 & 0x8000 | (x == 0 ? 0 : exponent << 10 | bits >>> 13 & 0x3ff));
  }

  private static double element(Tensor tensor, ByteBuffer bytes, int i) {
    return switch (tensor.dtype()) {
      case F32 -> bytes.getFloat(4 * i);
      case BF16 -> Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
      case F16 -> {
        int half = bytes.getShort(2 * i) & 0xffff;
        int exponent = half >>> 10 & 31;
        double magnitude =
            exponent == 0
                ? (half & 0x3ff) * 0x1p-24
                : (0x400 | half & 0x3ff) * Math.pow(2, exponent - 25);
        yield half >= 0x8000 ? -magnitude : magnitude;
      }
      case I32 -> bytes.getInt(4 * i);
      default -> bytes.get(i);
    };
  }

  /** Half a unit in the last place of the dtype, relative. */
  private static double rounding(DType dtype) {
    return switch (dtype) {
      case F32 -> 0x1p-24;
      case F16 -> 0x1p-11;
      case BF16 -> 0x1p-8;
      default -> 0;
    };
  }

  private static void check(Tensor tensor, String what, LongToDoubleFunction expected) {
    ByteBuffer bytes = ByteBuffer.wrap(tensor.toBytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < tensor.elements(); i++) {
      double wanted = expected.applyAsDouble(i);
      // Only averages of floats are not exact; they are rounded twice at most.
      double tolerance = Math.abs(wanted) * rounding(tensor.dtype()) * 1.01;
      double actual = element(tensor, bytes, i);
      if (!(Math.abs(actual - wanted) <= tolerance)) {
        assertEquals(wanted, actual, tolerance, what + ", element " + i);
      }
    }
  }

  private static void checkAll(Communicator c, DType dtype, int part) {
    int size = c.size();
    int n = part * size;
    String what = dtype + " [" + n + "], " + c;
    try (Scope scope = new Scope()) {
      Tensor x = scope.allocate(Device.cpu(), dtype, n);
      Tensor out = scope.allocate(Device.cpu(), dtype, n);
      Tensor small = scope.allocate(Device.cpu(), dtype, part);
      for (ReduceOp op : ReduceOp.values()) {
        fill(x, i -> input(c.rank(), i));
        c.allReduce(x, op, out);
        check(out, "all-reduce " + op + " of " + what, i -> reduced(op, dtype, size, i));
        c.reduceScatter(x, op, small);
        int first = part * c.rank();
        check(
            small,
            "reduce-scatter " + op + " of " + what,
            i -> reduced(op, dtype, size, first + i));
        c.allReduce(x, op, x);
        check(x, "all-reduce in place of " + what, i -> reduced(op, dtype, size, i));
      }
      fill(small, i -> input(c.rank(), i));
      c.allGather(small, out);
      check(out, "all-gather of " + what, i -> part == 0 ? 0 : input((int) (i / part), i % part));
      c.broadcast(small, size - 1);
      check(small, "broadcast of " + what, i -> input(size - 1, i));
      c.barrier();
    }
  }

  @Test
  void everyOperationOfEveryDType() throws Exception {
    for (int size : new int[] {1, 2, 3, 8}) {
      Ranks.run(
          size,
          c -> {
            assertEquals(size, c.size());
            for (DType dtype : EXCHANGED) {
              for (int part : new int[] {0, 1, 67, 5003}) {
                checkAll(c, dtype, part);
              }
            }
          });
    }
  }

  /** Against a sum in double arithmetic, within what two roundings may differ. */
  @Test
  void compressedSumsAreWithinTheirBoundAndAlike() throws Exception {
    int size = 3;
    int n = 300_007;
    float[][] inputs = new float[size][n];
    for (int r = 0; r < size; r++) {
      Random random = new Random(r + 1);
      for (int i = 0; i < n; i++) {
        inputs[r][i] = (float) (random.nextGaussian() * Math.pow(2, i / 256 % 40 - 20));
      }
    }
    float[][] results = new float[size][];
    Ranks.run(
        size,
        c -> {
          try (Tensor x = Tensor.of(inputs[c.rank()], n)) {
            c.allReduceCompressed(x, ReduceOp.AVERAGE, x);
            results[c.rank()] = x.toFloats();
          }
        });
    for (int begin = 0; begin < n; begin += 256) {
      int end = Math.min(n, begin + 256);
      double bound = 0;
      double largest = 0;
      for (float[] input : inputs) {
        double absmax = 0;
        for (int i = begin; i < end; i++) {
          absmax = Math.max(absmax, Math.abs(input[i]));
        }
        bound += absmax / 254 / size;
        largest += absmax / size;
      }
      bound = 1.0001 * (bound + (largest + bound) / 254);
      for (int i = begin; i < end; i++) {
        double exact = ((double) inputs[0][i] + inputs[1][i] + inputs[2][i]) / size;
        assertEquals(exact, results[0][i], bound, "element " + i);
      }
    }
    assertArrayEquals(results[0], results[1]);
    assertArrayEquals(results[0], results[2]);
  }

  @Test
  void manyCallsOfChangingSizeWithDelays() throws Exception {
    Ranks.run(
        4,
        c -> {
          Random same = new Random(7);
          Random own = new Random(c.rank());
          try (Tensor x = Tensor.allocate(Device.cpu(), DType.I32, 20000)) {
            for (int call = 0; call < 1000; call++) {
              int n = same.nextInt(call % 50 == 0 ? 20000 : 300);
              if (own.nextInt(100) == 0) {
                Thread.sleep(0, own.nextInt(500000));
              }
              try (Tensor some = x.view(0, n)) {
                fill(some, i -> input(c.rank(), i));
                c.allReduce(some, ReduceOp.SUM, some);
                check(some, "call " + call, i -> reduced(ReduceOp.SUM, DType.I32, 4, i));
              }
            }
          }
        });
  }

  @Test
  void moreRanksThanProcessors() throws Exception {
    int size = 48;
    Ranks.run(
        size,
        c -> {
          try (Tensor x = Tensor.of(new float[] {c.rank(), 1}, 2)) {
            c.allReduce(x, ReduceOp.SUM, x);
            assertEquals(size * (size - 1) / 2.0, x.toFloats()[0]);
            assertEquals(size, x.toFloats()[1]);
          }
        });
  }

  @Test
  void disagreementNamesTheRankAndTheDifference() throws Exception {
    Ranks.run(
        3,
        c -> {
          try (Tensor x = Tensor.allocate(Device.cpu(), DType.F32, c.rank() == 1 ? 1001 : 1000)) {
            RankFailedException e =
                assertThrows(RankFailedException.class, () -> c.allReduce(x, ReduceOp.SUM, x));
            assertTrue(
                e.getMessage().contains("rank 1 has 1001 elements")
                    || e.getMessage().contains("where rank 1 has 1001"),
                e.getMessage());
            assertTrue(e.rank() >= 0 && e.rank() < 3, "rank " + e.rank());
            RankFailedException again = assertThrows(RankFailedException.class, c::barrier);
            assertEquals(
                "the communicator of rank "
                    + c.rank()
                    + " is unusable since a call failed: "
                    + e.getMessage(),
                again.getMessage());
          }
        });
  }

  @Test
  void aLateRankEndsTheCallWithinTheTimeout() throws Exception {
    CountDownLatch failed = new CountDownLatch(1);
    Ranks.run(
        Communicator.threads(2, Duration.ofMillis(150)),
        c -> {
          if (c.rank() == 0) {
            long start = System.nanoTime();
            RankFailedException e = assertThrows(RankFailedException.class, c::barrier);
            assertEquals(
                "rank 1 has not called barrier within 0.15 s, or hangs in it", e.getMessage());
            assertEquals(1, e.rank());
            long waited = (System.nanoTime() - start) / 1_000_000;
            assertTrue(waited >= 149 && waited < 5000, waited + " ms");
            failed.countDown();
          } else {
            failed.await();
            RankFailedException e = assertThrows(RankFailedException.class, c::barrier);
            assertTrue(e.getMessage().startsWith("this rank, 1, is late"), e.getMessage());
          }
        });
  }

  @Test
  void closingTellsTheOthers() throws Exception {
    Ranks.run(
        3,
        c -> {
          c.barrier();
          if (c.rank() == 2) {
            c.close();
            c.close();
            IllegalStateException e = assertThrows(IllegalStateException.class, c::barrier);
            assertEquals("the communicator is closed", e.getMessage());
          } else {
            RankFailedException e = assertThrows(RankFailedException.class, c::barrier);
            assertEquals(
                "rank 2 has closed its communicator, before barrier was complete", e.getMessage());
          }
        });
  }

  @Test
  void oneCallAtATimeAndNoCloseDuringIt() throws Exception {
    List<Communicator> group = Communicator.threads(2);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    Thread waiting =
        new Thread(
            () -> {
              try {
                group.get(0).barrier();
              } catch (Throwable e) {
                failure.set(e);
              }
            });
    waiting.start();
    while (Arrays.stream(waiting.getStackTrace())
        .noneMatch(f -> f.getMethodName().equals("sn_barrier"))) {
      Thread.sleep(1);
    }
    IllegalStateException busy =
        assertThrows(IllegalStateException.class, () -> group.get(0).close());
    assertTrue(busy.getMessage().contains("in use by a call"), busy.getMessage());
    IllegalStateException second = assertThrows(IllegalStateException.class, group.get(0)::barrier);
    assertTrue(second.getMessage().contains("in use by another call"), second.getMessage());
    // Neither does an interrupt end the call.
    waiting.interrupt();
    waiting.join(50);
    assertTrue(waiting.isAlive());
    group.get(1).barrier();
    waiting.join();
    assertEquals(null, failure.get());
    group.forEach(Communicator::close);
  }

  @Test
  void anInterruptIsNeitherAnErrorNorLost() throws Exception {
    Ranks.run(
        2,
        c -> {
          Thread.currentThread().interrupt();
          c.barrier();
          assertTrue(Thread.interrupted());
        });
  }

  /** Tensors are closed as soon as a call has failed, while others may just begin to read them. */
  @Test
  void tensorsOfAFailedCallMayBeClosed() throws Exception {
    for (int round = 0; round < 10; round++) {
      int late = round;
      Ranks.run(
          Communicator.threads(3, Duration.ofMillis(1)),
          c -> {
            for (int call = 0; call < 10; call++) {
              try (Tensor x = Tensor.allocate(Device.cpu(), DType.F32, 1 << 19)) {
                if (call == late && c.rank() == 1) {
                  Thread.sleep(3);
                }
                c.allReduce(x, ReduceOp.SUM, x);
              } catch (RankFailedException e) {
                return;
              }
            }
          });
    }
  }

  @Test
  void argumentsThatOneRankSeesAlone() throws Exception {
    assertThrows(IllegalArgumentException.class, () -> Communicator.threads(0));
    assertThrows(IllegalArgumentException.class, () -> Communicator.threads(129));
    assertThrows(IllegalArgumentException.class, () -> Communicator.threads(1, Duration.ZERO));
    Ranks.run(
        2,
        c -> {
          try (Scope scope = new Scope()) {
            Tensor x = scope.allocate(Device.cpu(), DType.F32, 6);
            Tensor y = scope.allocate(Device.cpu(), DType.F32, 2);
            Tensor doubles = scope.allocate(Device.cpu(), DType.F64, 6);
            Tensor closed = Tensor.allocate(Device.cpu(), DType.F32, 6);
            closed.close();
            IllegalArgumentException e =
                assertThrows(
                    IllegalArgumentException.class,
                    () -> c.allReduce(doubles, ReduceOp.SUM, doubles));
            assertEquals("x is F64, not one of F32, F16, BF16, I32, I8", e.getMessage());
            assertThrows(IllegalArgumentException.class, () -> c.allReduce(x, ReduceOp.SUM, y));
            assertThrows(IllegalArgumentException.class, () -> c.reduceScatter(x, ReduceOp.SUM, y));
            assertThrows(
                IllegalArgumentException.class, () -> c.allReduceCompressed(x, ReduceOp.MAX, x));
            assertThrows(IllegalArgumentException.class, () -> c.allGather(x, y));
            assertThrows(IllegalArgumentException.class, () -> c.broadcast(x, 2));
            assertThrows(IllegalStateException.class, () -> c.allReduce(x, ReduceOp.SUM, closed));
            assertThrows(IllegalArgumentException.class, () -> c.allReduce(x, ReduceOp.SUM, null));
            assertThrows(NullPointerException.class, () -> c.allReduce(x, null, x));
            // None of these was a call.
            c.allReduce(x, ReduceOp.SUM, x);
          }
        });
  }

  @Test
  void virtualThreadsAreRefused() throws Exception {
    assumeTrue(Runtime.version().feature() >= 21);
    try (Communicator c = Communicator.threads(1).get(0)) {
      AtomicReference<Throwable> failure = new AtomicReference<>();
      Thread thread =
          (Thread)
              Thread.class
                  .getMethod("startVirtualThread", Runnable.class)
                  .invoke(
                      null,
                      (Runnable)
                          () -> failure.set(assertThrows(IllegalStateException.class, c::barrier)));
      thread.join();
      assertTrue(failure.get().getMessage().contains("virtual"), failure.get().getMessage());
    }
  }
}
