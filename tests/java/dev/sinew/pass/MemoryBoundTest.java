package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.model.BitmapTensor;
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
      // A long row with a bitmap, whose values are counted before they are written.
      Pattern row = new Pattern().add("a.weight", DType.F16, 1, 160_000_000);
      Optimizer.Options sparse =
          new Optimizer.Options(
              Targets.byDefault(), 4, false, Optimizer.Progress.NONE, Storage.BITMAP);
      Report report =
          Optimizer.optimize(row, List.of(Prune.nm(2, 4)), sparse, plan -> new Discard());
      if (report.tensors().get(0).storage() != Storage.BITMAP) {
        throw new IllegalStateException(report.toString());
      }
      readSparseRow();
      String peak =
          Files.readAllLines(Path.of("/proc/self/status")).stream()
              .filter(line -> line.startsWith("VmHWM"))
              .findFirst()
              .orElseThrow();
      System.out.println(Integer.parseInt(peak.replaceAll("\\D", "")) / 1024);
    }
  }

  /** Reads a row of 160 million elements stored with a bitmap, of which one in 64 is not zero. */
  private static void readSparseRow() throws IOException {
    long cols = 160_000_000;
    Map<String, TensorInfo> parts = new LinkedHashMap<>();
    for (TensorInfo part :
        BitmapTensor.of(TensorInfo.of("t", DType.F32, 1, cols), (cols + 63) / 64).parts()) {
      parts.put(part.name(), part);
    }
    Pattern pattern = new Pattern(parts);
    Checkpoint stored =
        new Checkpoint() {
          @Override
          public Path path() {
            return pattern.path();
          }

          @Override
          public String format() {
            return pattern.format();
          }

          @Override
          public Map<String, TensorInfo> tensors() {
            return parts;
          }

          @Override
          public Map<String, String> metadata() {
            return Map.of();
          }

          @Override
          public void read(String tensor, long byteOffset, ByteBuffer target) {
            switch (tensor) {
              case "t_bitmap" -> {
                for (long at = byteOffset; target.hasRemaining(); at++) {
                  target.put((byte) (at % 8 == 0 ? 1 : 0));
                }
              }
              case "t_row_offsets" -> put(target, byteOffset, 0, (cols + 63) / 64);
              case "t_shape" -> put(target, byteOffset, 1, cols);
              default -> {
                while (target.hasRemaining()) {
                  target.put((byte) 1);
                }
              }
            }
          }

          private void put(ByteBuffer target, long byteOffset, long first, long second) {
            for (long at = byteOffset; target.hasRemaining(); at++) {
              target.put((byte) ((at < 8 ? first : second) >> 8 * (at % 8)));
            }
          }

          @Override
          public Optional<FileRegion> region(String tensor) {
            return Optional.empty();
          }

          @Override
          public void close() {}
        };
    Checkpoint view = Decoding.dense(stored);
    ByteBuffer piece = ByteBuffer.allocateDirect(1 << 20);
    for (long at = 0; at < 4 * cols; at += piece.capacity()) {
      piece.clear().limit((int) Math.min(piece.capacity(), 4 * cols - at));
      view.read("t", at, piece);
      if (piece.getInt(0) != 0x01010101 || piece.getInt(4) != 0) {
        throw new IllegalStateException("at " + at);
      }
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
