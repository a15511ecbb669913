package dev.sinew.benchmarks.peers;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** What the machine reaches when nothing is computed, or nothing is loaded. */
final class Ceilings implements AutoCloseable {
  private final Device device;
  private final Tensor memory;
  private final Tensor nothing;

  Ceilings(Device device) {
    this.device = device;
    memory = Tensor.allocate(device, DType.U8, Problem.COLD_BYTES);
    nothing = Tensor.allocate(device, DType.U8, 0);
    // So that it does not read the system's one page of zeros.
    memory.withBuffer(
        0,
        (int) memory.byteSize(),
        buffer -> {
          for (int i = 0; i < buffer.capacity(); i += 1024) {
            buffer.put(i, (byte) 1);
          }
        });
  }

  /** Bytes read from memory in a second. */
  double bytesPerSecond() {
    long begin = System.nanoTime();
    Ops.memoryProbe(memory, nothing);
    return memory.byteSize() / (1e-9 * (System.nanoTime() - begin));
  }

  /**
   * Operations from registers alone in a second: {@code {integers, floats}}, as benchmarks/cpp
   * measures them.
   */
  double[] operationsPerSecond() throws IOException {
    Process process =
        new ProcessBuilder(
                System.getProperty("sinew.benchmark.peak"), Integer.toString(device.threads()))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String[] numbers =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.US_ASCII)
            .strip()
            .split(" ");
    if (numbers.length != 2) {
      throw new IOException("sinew_bench_peak gave no two numbers");
    }
    return new double[] {Double.parseDouble(numbers[0]), Double.parseDouble(numbers[1])};
  }

  @Override
  public void close() {
    memory.close();
    nothing.close();
  }
}
