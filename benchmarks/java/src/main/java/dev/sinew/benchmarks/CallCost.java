package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.sn_device;
import dev.sinew.internal.sn_tensor;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** What one call costs when there is nothing to compute. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class CallCost {
  private static final int ELEMENTS = 16;

  private Tensor x;
  private Tensor out;
  private final sn_tensor rawX = new sn_tensor();
  private final sn_tensor rawOut = new sn_tensor();
  private final sn_device rawDevice = new sn_device();

  @Setup
  public void setUp() {
    x = Tensor.allocate(Device.cpu(), DType.F32, ELEMENTS);
    out = Tensor.allocate(Device.cpu(), DType.F32, ELEMENTS);
    long[] shape = {ELEMENTS};
    SinewNative.sn_cpu_open(0, rawDevice);
    SinewNative.sn_tensor_create(rawDevice, SinewNative.SN_F32, 1, shape, rawX);
    SinewNative.sn_tensor_create(rawDevice, SinewNative.SN_F32, 1, shape, rawOut);
  }

  @TearDown
  public void tearDown() {
    x.close();
    out.close();
    SinewNative.sn_tensor_close(rawX);
    SinewNative.sn_tensor_close(rawOut);
    SinewNative.sn_device_close(rawDevice);
  }

  /** The floor: into native code and back. */
  @Benchmark
  public int nativeCall() {
    return SinewNative.sn_api_version();
  }

  /** A kernel without the Java side. */
  @Benchmark
  public int nativeConvert16() {
    return SinewNative.sn_convert(rawX, rawOut);
  }

  @Benchmark
  public void convert16() {
    Ops.convert(x, out);
  }

  /** As {@link #pruneThreshold16}, without the Java side. */
  @Benchmark
  public long nativePruneThreshold16() {
    long[] zeros = new long[1];
    SinewNative.sn_prune_threshold(rawX, 0.5f, rawOut, zeros);
    return zeros[0];
  }

  @Benchmark
  public long pruneThreshold16() {
    return Ops.pruneThreshold(x, 0.5f, out);
  }

  @Benchmark
  public void allocateAndClose() {
    Tensor.allocate(Device.cpu(), DType.F32, ELEMENTS).close();
  }

  @Benchmark
  public void viewAndClose() {
    x.view(0, ELEMENTS).close();
  }
}
