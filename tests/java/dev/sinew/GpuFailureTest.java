package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a program sees of a GPU that fails, on the stand-in that {@code sinew.test.cuda} names. It
 * fails when a file says so (tests/cpp/cuda/host_cudart.cc), in a JVM of its own, where the GPU
 * stays lost.
 */
class GpuFailureTest {
  /** Arguments: the file that makes the stand-in fail. */
  static final class Fail {
    private static Path file;

    /** The next call of a function of CUDA's run-time library, or the next "kernel", fails so. */
    private static void next(String function, int error) throws IOException {
      Path written = file.resolveSibling("written");
      Files.writeString(written, function + " " + error);
      Files.move(written, file, StandardCopyOption.ATOMIC_MOVE);
    }

    private static Tensor numbers(Device device) {
      try (Tensor x = Numbers.tensor(Device.cpu(), DType.F32, new double[] {1, -2, 3, -4}, 4)) {
        return x.to(device);
      }
    }

    private static void works(Device device) {
      try (Tensor x = numbers(device)) {
        Functional.add(x, x, x);
        assertArrayEquals(new float[] {2, -4, 6, -8}, x.toFloats());
      }
    }

    public static void main(String[] arguments) throws Exception {
      file = Path.of(arguments[0]);
      Device gpu = Device.cuda(1);
      Tensor x = numbers(gpu);
      passes(gpu, x);
      ends(gpu, x);
      // What was on it can be closed, and everything else goes on.
      x.close();
      works(Device.cpu());
      works(Device.cuda(0));
      System.out.println("passed");
    }

    private static void passes(Device gpu, Tensor x) throws IOException {
      next("kernel", 1);
      RuntimeException e = assertThrows(RuntimeException.class, () -> Functional.add(x, x, x));
      assertTrue(!(e instanceof DeviceLostException), e.toString());
      assertTrue(e.getMessage().contains("starting a kernel failed on GPU 1"), e.getMessage());
      works(gpu);
      next("cudaMallocFromPoolAsync", 2); // tried again
      works(gpu);
    }

    private static void ends(Device gpu, Tensor x) throws Exception {
      next("kernel", 700);
      Functional.add(x, x, x); // under way
      lost(gpu::synchronize);
      for (int i = 0; i < 2; i++) {
        lost(gpu::synchronize);
        lost(() -> Functional.add(x, x, x));
        lost(() -> Ops.pruneThreshold(x, 1, x));
        lost(x::toFloats);
        lost(() -> x.to(Device.cpu()));
        lost(() -> numbers(gpu));
        lost(() -> Tensor.allocate(gpu, DType.F32, 1 << 20));
      }
      CompletableFuture.runAsync(() -> lost(gpu::synchronize)).get();
    }

    private static void lost(Runnable call) {
      DeviceLostException e = assertThrows(DeviceLostException.class, call::run);
      assertEquals(
          "GPU 1 has failed (an illegal memory access was encountered) and cannot be used any more"
              + " in this process: restart it",
          e.getMessage());
    }
  }

  /** Prints the best device and why. */
  static final class Best {
    public static void main(String[] arguments) {
      System.out.println(Device.best());
      System.out.println(Device.bestReason());
      assertSame(Device.best(), Device.best());
      Fail.works(Device.best());
    }
  }

  private static String run(Class<?> program, Path file) throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result =
        ChildJvm.runUnder(
            List.of("env", "SINEW_CUDA_HOST_FAILS=" + file),
            program,
            List.of("-Dsinew.cuda=" + library),
            file.toString());
    assertEquals(0, result.exit(), result.output());
    return result.output();
  }

  @Test
  void aLostGpuIsSaidAndTheRestGoesOn(@TempDir Path folder) throws Exception {
    String output = run(Fail.class, folder.resolve("fails"));
    assertTrue(output.contains("passed"), output);
  }

  @Test
  void theBestDeviceIsOneThatOpens(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("fails");
    Files.writeString(file, "cudaMemPoolCreate 2");
    String output = run(Best.class, file);
    assertTrue(output.startsWith("cuda:1 ("), output);
    String reason = "it is the first GPU that can be used: GPU 0 has no memory left for a device";
    assertTrue(output.endsWith("\n" + reason + "\n"), output);
  }
}
