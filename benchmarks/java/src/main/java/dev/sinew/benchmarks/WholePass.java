package dev.sinew.benchmarks;

import dev.sinew.Device;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Kernels over a whole tensor of F32, in one JVM with libtorch and a plain Java loop, all with the
 * same number of threads. An iteration is one round in which each runs once.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2)
@Measurement(iterations = 9)
@Fork(
    value = 1,
    jvmArgsAppend = {
      "-Xmx5g",
      // The Java loops get huge pages like everyone.
      "-XX:+UseTransparentHugePages",
      // JavaCPP would take our tensors for its own and refuse to allocate.
      "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0"
    })
public class WholePass {
  /** The kernels. */
  public enum Kernel {
    PRUNE_IN_PLACE,
    PRUNE,
    PRUNE_SPARSITY,
    QUANTIZE_TENSOR,
    QUANTIZE_CHANNEL,
    RANGE_AND_QUANTIZE_CHANNEL,
    DEQUANTIZE,
    FAKE_QUANTIZE
  }

  @Param public Kernel kernel;

  /** 0 stands for all processors. */
  @Param({"1", "0"})
  public int threads;

  @Param({"256", "1024"})
  public int mebibytes;

  private Device device;
  private Contest contest;

  @Setup(Level.Trial)
  public void setUp() {
    int count = threads == 0 ? Device.availableProcessors() : threads;
    device = Device.cpu(count);
    Libtorch.setThreads(count);
    Data data = new Data(device, mebibytes);
    contest =
        switch (kernel) {
          case PRUNE_IN_PLACE -> new PruneContest(data, true);
          case PRUNE -> new PruneContest(data, false);
          case PRUNE_SPARSITY -> new SparsityContest(data);
          case QUANTIZE_TENSOR -> new QuantizeContest(data, false);
          case QUANTIZE_CHANNEL -> new QuantizeContest(data, true);
          case RANGE_AND_QUANTIZE_CHANNEL -> new RangeContest(data);
          case DEQUANTIZE -> new DequantizeContest(data);
          case FAKE_QUANTIZE -> new FakeQuantizeContest(data);
        };
    round(new Times(), false);
    contest.check();
    contest.cleanLibtorch();
  }

  @TearDown(Level.Trial)
  public void tearDown() {
    contest.close();
    device.close();
  }

  @Benchmark
  public void round(Times times) {
    round(times, true);
  }

  private void round(Times times, boolean clean) {
    times.bytes = contest.bytes();
    times.probe = Times.nanosecondsOf(contest::probe);
    contest.prepareSinew();
    times.sinew = Times.nanosecondsOf(contest::sinew);
    if (contest.hasLibtorch()) {
      times.libtorch = Times.nanosecondsOf(contest::libtorch);
      if (clean) {
        contest.cleanLibtorch();
      }
    }
    if (contest.hasJavaLoop()) {
      times.javaLoop = Times.nanosecondsOf(contest::javaLoop);
    }
  }
}
