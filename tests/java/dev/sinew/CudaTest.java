package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.collective.Communicator;
import dev.sinew.collective.Nccl;
import dev.sinew.collective.ReduceOp;
import dev.sinew.pass.Quantize;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/**
 * GPUs as Java sees them. What needs one runs on the library that the system property {@code
 * sinew.test.cuda} names, which the C++ tests also use: kernels on the CPU in the place of a GPU.
 */
class CudaTest {
  /** Prints what happens when a GPU is asked for in every way. */
  static final class Ask {
    public static void main(String[] arguments) {
      for (Callable<Object> way :
          List.<Callable<Object>>of(
              () -> Device.cuda(0), Device::requireGpu, Device::gpus, () -> Device.cuda(7))) {
        try {
          System.out.println("> " + way.call());
        } catch (Throwable e) {
          System.out.println("> " + e.getClass().getSimpleName() + ": " + e.getMessage());
        }
      }
      System.out.println("> " + Device.best());
      System.out.println("> " + Device.bestReason());
      assertSame(Device.best(), Device.best());
    }
  }

  private static List<String> ask(String... options) throws Exception {
    ChildJvm.Result result = ChildJvm.run(Ask.class, List.of(options));
    assertEquals(0, result.exit(), result.output());
    List<String> lines =
        result
            .output()
            .lines()
            .filter(line -> line.startsWith("> "))
            .map(l -> l.substring(2))
            .toList();
    assertEquals(6, lines.size(), result.output());
    return lines;
  }

  private static void assertRefused(String reason, List<String> lines) {
    for (String line : lines.subList(0, 4)) {
      assertTrue(line.startsWith("UnsupportedOperationException: no GPU can be used, as "), line);
      assertTrue(line.contains(reason), line);
    }
    // Then the best device is the CPU, for the same reason.
    assertTrue(lines.get(4).startsWith("cpu ("), lines.get(4));
    assertEquals(lines.get(0), "UnsupportedOperationException: " + lines.get(5));
  }

  @Test
  void withoutThePlugin() throws Exception {
    assertRefused("sinew.cuda is none", ask("-Dsinew.cuda=none"));
    assertRefused("/nowhere/lib.so", ask("-Dsinew.cuda=/nowhere/lib.so"));
    assertRefused("not Sinew's CUDA plug-in", ask("-Dsinew.cuda=libc.so.6"));
  }

  @Test
  void asItIs() throws Exception {
    List<String> lines = ask();
    // Without a driver or a plug-in the reason is told; with a GPU there is one.
    if (!lines.get(0).startsWith("cuda:0 (")) {
      assertRefused("", lines);
      return;
    }
    assertEquals(lines.get(0), lines.get(4));
    assertEquals("it is the first GPU that can be used", lines.get(5));
  }

  /** Computes on GPU 0 of the library that {@code sinew.cuda} names; an exception is a failure. */
  static final class Compute {
    public static void main(String[] arguments) {
      Device gpu = Device.requireGpu();
      assertSame(gpu, Device.cuda(0));
      assertSame(gpu, Device.best());
      assertEquals("it is the first GPU that can be used", Device.bestReason());
      assertTrue(gpu.isGpu());
      assertFalse(Device.cpu().isGpu());
      assertTrue(gpu.toString().startsWith("cuda:0 ("), gpu.toString());
      assertEquals(1, gpu.threads());
      assertThrows(IllegalStateException.class, gpu::close);
      int count = Device.gpus().size();
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> Device.cuda(count));
      assertTrue(e.getMessage().contains("there is no GPU " + count), e.getMessage());
      computes(gpu);
      layers(gpu);
      copies(gpu);
      ranks(gpu);
      refuses(gpu);
      gpu.synchronize();
      Device.cpu().synchronize();
      System.out.println("passed on " + gpu);
    }

    private static void computes(Device gpu) {
      double[] values = new double[1003];
      for (int i = 0; i < values.length; i++) {
        values[i] = (i * 37 % 101 - 50) / 100.0;
      }
      try (Tensor x = Numbers.tensor(Device.cpu(), DType.F32, values, 17, 59);
          Tensor onGpu = x.to(gpu);
          Tensor scale = Numbers.tensor(Device.cpu(), DType.F32, new double[] {0.004}, 1);
          Tensor scaleOnGpu = scale.to(gpu);
          Tensor q = Tensor.allocate(Device.cpu(), DType.I8, 17, 59);
          Tensor qOnGpu = Tensor.allocate(gpu, DType.I8, 17, 59)) {
        assertSame(gpu, onGpu.device());
        Ops.quantize(x, scale, null, 0, q);
        Ops.quantize(onGpu, scaleOnGpu, null, 0, qOnGpu);
        assertArrayEquals(q.toBytes(), qOnGpu.toBytes());
        assertEquals(Ops.pruneThreshold(x, 0.2f, x), Ops.pruneThreshold(onGpu, 0.2f, onGpu));
        assertArrayEquals(x.toFloats(), onGpu.toFloats());
        IllegalArgumentException e =
            assertThrows(
                IllegalArgumentException.class, () -> Ops.quantize(x, scale, null, 0, qOnGpu));
        assertTrue(e.getMessage().contains("different devices"), e.getMessage());
        onGpu.copyFrom(
            8, ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, Float.NaN));
        assertThrows(
            NotFiniteException.class, () -> Ops.quantize(onGpu, scaleOnGpu, null, 0, qOnGpu));
      }
    }

    private static void layers(Device gpu) {
      double[] values = new double[70 * 19];
      for (int i = 0; i < values.length; i++) {
        values[i] = (i * 53 % 211 - 105) / 100.0;
      }
      try (Tensor w = Numbers.tensor(Device.cpu(), DType.F32, values, 19, 70);
          Tensor x = Numbers.tensor(Device.cpu(), DType.F32, values, 19, 70);
          Tensor q = Tensor.allocate(Device.cpu(), DType.I8, 19, 70);
          Tensor scale = Tensor.allocate(Device.cpu(), DType.F32, 19);
          Tensor y = Tensor.allocate(Device.cpu(), DType.F32, 19, 19)) {
        Quantize.int8().apply(w, q, scale, null);
        try (PackedWeights packed = PackedWeights.w8a8(q, scale, null);
            Tensor qOnGpu = q.to(gpu);
            Tensor scaleOnGpu = scale.to(gpu);
            PackedWeights packedOnGpu = PackedWeights.w8a8(qOnGpu, scaleOnGpu, null);
            Tensor xOnGpu = x.to(gpu);
            Tensor yOnGpu = Tensor.allocate(gpu, DType.F32, 19, 19)) {
          Functional.linear(x, packed, null, Activation.SILU, y);
          Functional.linear(xOnGpu, packedOnGpu, null, Activation.SILU, yOnGpu);
          assertArrayEquals(y.toBytes(), yOnGpu.toBytes());
        }
      }
    }

    private static void ranks(Device gpu) {
      List<Communicator> group = Communicator.gpus(List.of(gpu, gpu));
      CompletableFuture<Void> other = CompletableFuture.runAsync(() -> rank(group.get(1), gpu));
      rank(group.get(0), gpu);
      other.join();
      assertThrows(
          UnsupportedOperationException.class, () -> Communicator.gpus(List.of(gpu, Device.cpu())));
      assertThrows(IllegalArgumentException.class, () -> Communicator.gpus(List.of()));
      Nccl.isUsedOrMissing();
    }

    private static void rank(Communicator communicator, Device gpu) {
      try (Communicator c = communicator;
          Tensor host = Tensor.of(new float[] {1, 2, 3, 4 + c.rank()}, 2, 2);
          Tensor x = host.to(gpu);
          Tensor residual = Tensor.allocate(gpu, DType.F32, 2, 2);
          Tensor y = Tensor.allocate(gpu, DType.F32, 2, 2);
          Tensor half = Tensor.allocate(gpu, DType.F32, 2)) {
        c.allReduceRmsNorm(x, residual, null, 0, residual, y);
        assertArrayEquals(new float[] {2, 4, 6, 9}, residual.toFloats());
        assertArrayEquals(
            new float[] {0.6324555f, 1.264911f, 0.7844645f, 1.1766968f}, y.toFloats(), 1e-6f);
        c.allReduce(x, ReduceOp.MAX, x);
        assertArrayEquals(new float[] {1, 2, 3, 5}, x.toFloats());
        c.broadcast(x, 0);
        c.reduceScatter(x, ReduceOp.SUM, half);
        assertArrayEquals(
            c.rank() == 0 ? new float[] {2, 4} : new float[] {6, 10}, half.toFloats());
        c.allGather(half, x);
        assertArrayEquals(new float[] {2, 4, 6, 10}, x.toFloats());
        UnsupportedOperationException e =
            assertThrows(
                UnsupportedOperationException.class,
                () -> c.allReduceCompressed(x, ReduceOp.SUM, x));
        assertEquals(
            "ranks that are GPUs do not compress what they reduce; call all-reduce",
            e.getMessage());
        c.barrier();
      }
    }

    private static void copies(Device gpu) {
      try (Tensor x = Tensor.allocate(gpu, DType.U8, 1000);
          Tensor view = x.view(10, 20)) {
        assertArrayEquals(new byte[1000], x.toBytes());
        for (ByteBuffer bytes : List.of(ByteBuffer.allocate(7), ByteBuffer.allocateDirect(7))) {
          for (int i = 0; i < 7; i++) {
            bytes.put((byte) (i + 1));
          }
          view.copyFrom(3, bytes.flip());
          assertEquals(0, bytes.remaining());
          ByteBuffer back = ByteBuffer.allocate(9);
          x.copyTo(12, back);
          assertArrayEquals(new byte[] {0, 1, 2, 3, 4, 5, 6, 7, 0}, back.array());
        }
        assertThrows(
            IllegalArgumentException.class, () -> view.copyFrom(14, ByteBuffer.allocate(7)));
        assertThrows(IllegalArgumentException.class, () -> view.copyTo(-1, ByteBuffer.allocate(7)));
        try (Tensor again = x.to(gpu);
            Tensor empty = Tensor.allocate(gpu, DType.F32, 0)) {
          assertArrayEquals(x.toBytes(), again.toBytes());
          assertEquals(0, empty.toFloats().length);
        }
      }
    }

    private static void refuses(Device gpu) {
      try (Tensor x = Tensor.allocate(gpu, DType.F32, 4);
          Tensor result = Tensor.allocate(gpu, DType.F64, 5)) {
        UnsupportedOperationException e =
            assertThrows(
                UnsupportedOperationException.class, () -> x.withBuffer(0, 4, buffer -> {}));
        assertTrue(e.getMessage().contains("copyTo"), e.getMessage());
        e = assertThrows(UnsupportedOperationException.class, () -> Ops.compare(x, x, result));
        assertTrue(e.getMessage().contains("compare has no CUDA kernel yet"), e.getMessage());
        assertThrows(
            UnsupportedOperationException.class,
            () -> Tensor.wrap(gpu, ByteBuffer.allocateDirect(16), DType.F32, 4));
        assertThrows(
            UnsupportedOperationException.class,
            () -> Tensor.map(gpu, Path.of("/proc/self/exe").toRealPath(), 0, DType.F32, 4));
        assertThrows(
            OutOfMemoryError.class, () -> Tensor.allocate(gpu, DType.U8, 1L << 50).close());
      } finally {
        assertEquals(0, dev.sinew.internal.SinewNative.sn_live_tensors());
      }
    }
  }

  @Test
  void computesOnAGpu() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result = ChildJvm.run(Compute.class, List.of("-Dsinew.cuda=" + library));
    assertEquals(0, result.exit(), result.output());
    assertTrue(result.output().contains("passed on cuda:0"), result.output());
  }
}
