package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.Report;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
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
 * A safetensors file of 1 GiB through {@link Optimizer#optimize}, against copying it and forcing
 * the copy to the disk, which optimize does with its output too. The file is in the page cache; it
 * and the results lie in a new folder inside {@code java.io.tmpdir}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 1)
@Measurement(iterations = 5)
@Fork(1)
public class Streaming {
  private static final int TENSORS = 16;
  private static final int MEBIBYTES_EACH = 64;
  private static final float THRESHOLD = 0.5f;

  /** What optimize does. */
  public enum Recipe {
    PRUNE_THRESHOLD,
    QUANTIZE_INT8
  }

  @Param public Recipe recipe;

  private final Data data = new Data(Device.cpu(), MEBIBYTES_EACH);
  private final ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
  private Path folder;
  private Path input;
  private Path copy;
  private Path output;

  @Setup(Level.Trial)
  public void setUp() throws IOException {
    folder = Files.createTempDirectory("sinew-benchmark");
    input = folder.resolve("input.safetensors");
    copy = folder.resolve("copy.safetensors");
    output = folder.resolve("output.safetensors");
    List<TensorInfo> tensors = new ArrayList<>();
    for (int i = 0; i < TENSORS; i++) {
      tensors.add(TensorInfo.of(name(i), DType.F32, data.rows, data.cols));
    }
    try (CheckpointWriter writer = SafeTensors.create(input, tensors, Map.of(), false);
        Tensor values = data.values()) {
      for (TensorInfo tensor : tensors) {
        values.<IOException>withBuffer(
            0, (int) values.byteSize(), bytes -> writer.write(tensor.name(), 0, bytes));
      }
      writer.commit();
    }
    optimize();
    check();
    Files.delete(output);
  }

  private static String name(int i) {
    return "layers." + i + ".weight";
  }

  private Pass pass() {
    return switch (recipe) {
      case PRUNE_THRESHOLD -> Prune.threshold(THRESHOLD);
      case QUANTIZE_INT8 -> Quantize.int8();
    };
  }

  @TearDown(Level.Trial)
  public void tearDown() throws IOException {
    Files.delete(input);
    Files.delete(folder);
  }

  @Benchmark
  public void round(Times times) throws IOException {
    long begin = System.nanoTime();
    copy();
    times.probe = System.nanoTime() - begin;
    times.bytes = Files.size(input);
    Files.delete(copy);
    begin = System.nanoTime();
    optimize();
    times.sinew = System.nanoTime() - begin;
    times.bytes += Files.size(output);
    Files.delete(output);
  }

  private void copy() throws IOException {
    try (FileChannel from = FileChannel.open(input);
        FileChannel to =
            FileChannel.open(copy, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      while (from.read(buffer.clear()) > 0) {
        buffer.flip();
        while (buffer.hasRemaining()) {
          to.write(buffer);
        }
      }
      to.force(true);
    }
  }

  private void optimize() throws IOException {
    Optimizer.Options options =
        new Optimizer.Options(
            Targets.byDefault(), Device.availableProcessors(), false, Optimizer.Progress.NONE);
    try (Checkpoint checkpoint = SafeTensors.open(input)) {
      Report report =
          Optimizer.optimize(
              checkpoint,
              List.of(pass()),
              options,
              plan -> SafeTensors.create(output, plan, false));
      if (!report.tensors().stream().allMatch(Report.Entry::touched)) {
        throw new AssertionError("a tensor was left as it is");
      }
    }
  }

  // The last tensor of the file against the same pass in memory.
  private void check() throws IOException {
    DType dtype = recipe == Recipe.QUANTIZE_INT8 ? DType.I8 : DType.F32;
    try (Checkpoint checkpoint = SafeTensors.open(output);
        Tensor read = data.allocate(dtype);
        Tensor x = data.values();
        Tensor q = data.allocate(DType.I8);
        Tensor scale = Tensor.allocate(Device.cpu(), DType.F32, data.rows)) {
      read.<IOException>withBuffer(
          0, (int) read.byteSize(), bytes -> checkpoint.read(name(TENSORS - 1), 0, bytes));
      if (recipe == Recipe.QUANTIZE_INT8) {
        Quantize.int8().apply(x, q, scale, null);
      } else {
        Ops.pruneThreshold(x, THRESHOLD, x);
      }
      Tensor expected = recipe == Recipe.QUANTIZE_INT8 ? q : x;
      if (!ByteBuffer.wrap(expected.toBytes()).equals(ByteBuffer.wrap(read.toBytes()))) {
        throw new AssertionError("the file holds other values than the pass gives in memory");
      }
    }
  }
}
