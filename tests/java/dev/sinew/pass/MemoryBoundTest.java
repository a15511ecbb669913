package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** That memory grows neither with the number of tensors nor with their shape: a heap of 64 MiB. */
@Timeout(60)
class MemoryBoundTest {
  /** Tensors of a cheap pattern that take no memory. */
  private record Pattern(Map<String, TensorInfo> tensors) implements Checkpoint {
    private static final byte[] PERIOD = new byte[1 << 16];

    static {
      // Every upper byte is that of a number near 1, so that nothing is NaN or infinity.
      for (int i = 0; i < PERIOD.length; i++) {
        PERIOD[i] = (byte) (i % 2 == 1 ? 0x3c + i / 2 % 3 : i * 31 >> 3);
      }
    }

    Pattern() {
      this(new LinkedHashMap<>());
    }

    Pattern add(String name, DType dtype, long... shape) {
      tensors.put(name, TensorInfo.of(name, dtype, shape));
      return this;
    }

    @Override
    public Path path() {
      return Path.of("pattern");
    }

    @Override
    public String format() {
      return "pattern";
    }

    @Override
    public Map<String, String> metadata() {
      return Map.of();
    }

    @Override
    public void read(String tensor, long byteOffset, ByteBuffer target) {
      while (target.hasRemaining()) {
        int begin = (int) (byteOffset % PERIOD.length);
        int count = Math.min(target.remaining(), PERIOD.length - begin);
        target.put(PERIOD, begin, count);
        byteOffset += count;
      }
    }

    @Override
    public Optional<FileRegion> region(String tensor) {
      return Optional.empty();
    }

    @Override
    public void close() {}
  }

  private static final class Discard implements CheckpointWriter {
    @Override
    public void write(String tensor, long byteOffset, ByteBuffer source) {}

    @Override
    public void commit() {}

    @Override
    public void close() {}
  }

  /** Runs what once took a gigabyte, and prints the largest resident memory in MiB. */
  static final class Program {
    public static void main(String[] arguments) throws IOException {
      Optimizer.Options options =
          new Optimizer.Options(Targets.byDefault(), 4, false, Optimizer.Progress.NONE);
      // Every tensor of its own selection.
      Pattern many = new Pattern();
      for (int i = 0; i < 2000; i++) {
        many.add("layers." + i + ".weight", DType.F32, 4, 4);
      }
      Pass perTensor = Prune.sparsity(0.5, Prune.Scope.TENSOR);
      Optimizer.optimize(many, List.of(perTensor), options, plan -> new Discard());
      // A block of squared errors for every element.
      Pattern column = new Pattern().add("a.weight", DType.F32, 600_000, 1);
      Optimizer.optimize(
          column,
          List.of(Quantize.of(8, false, "tensor", "mse")),
          options,
          plan -> new Discard(),
          new TileGrid.Sizes(1 << 20, 1 << 20));
      // Large tensors of all dtypes, in one tile each, and scales for every second element.
      Pattern types = new Pattern();
      for (DType dtype : new DType[] {DType.F32, DType.F16, DType.BF16, DType.F64}) {
        for (int i = 0; i < 4; i++) {
          types.add(dtype + "." + i + ".weight", dtype, 1000, 1500);
        }
      }
      Optimizer.optimize(
          types, List.of(perTensor, Quantize.int4(2)), options, plan -> new Discard());
      String peak =
          Files.readAllLines(Path.of("/proc/self/status")).stream()
              .filter(line -> line.startsWith("VmHWM"))
              .findFirst()
              .orElseThrow();
      System.out.println(Integer.parseInt(peak.replaceAll("\\D", "")) / 1024);
    }
  }

  @Test
  void manyTensorsShortRowsAndAllTypes() throws Exception {
    ChildJvm.Result result = ChildJvm.run(Program.class, List.of());
    assertEquals(0, result.exit(), result.output());
    int mebibytes = Integer.parseInt(result.output().strip());
    assertTrue(mebibytes < 300, mebibytes + " MiB");
  }
}
