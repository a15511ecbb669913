package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Clustered tensors as real numbers. */
@Timeout(120)
class ClusteredDecoderTest {
  @Test
  void whatTheOptimizerWritesComesBack() throws IOException {
    MemoryCheckpoint model = ClusterStreamingTest.model();
    Random random = new Random(10);
    for (String recipe : List.of("bits=4", "bits=3,rows=2,iterations=1", "bits=8,rows=5")) {
      Cluster pass = Cluster.parse(recipe);
      MemoryWriter writer =
          ClusterStreamingTest.streamed(model, List.of(pass), 2, ClusterStreamingTest.USUAL);
      MemoryCheckpoint again = new MemoryCheckpoint();
      writer.tensors.values().forEach(info -> again.add(info, writer.data.get(info.name())));
      try (Checkpoint view = Decoding.view(again)) {
        assertEquals(model.tensors().keySet(), view.tensors().keySet());
        for (TensorInfo info : model.tensors().values()) {
          assertEquals(
              new TensorInfo(info.name(), DType.F32, info.shape()),
              view.tensors().get(info.name()));
          byte[] expected = decodedByHand(pass, info, writer);
          assertArrayEquals(expected, read(view, info.name(), 0, expected.length), info.name());
          for (int i = 0; i < 20; i++) {
            int begin = random.nextInt(expected.length);
            int count = random.nextInt(expected.length - begin + 1);
            assertArrayEquals(
                Arrays.copyOfRange(expected, begin, begin + count),
                read(view, info.name(), begin, count));
          }
        }
      }
    }
  }

  @Test
  void longRowsAndEntriesThatAreNotNumbers() throws IOException {
    int cols = 600_007;
    Random random = new Random(11);
    byte[] q = new byte[2 * ((cols * 3 + 7) / 8)];
    random.nextBytes(q);
    double[] entries = {3, -1, Double.NaN, 0, Double.POSITIVE_INFINITY, 1e-40, -0.0, 7};
    MemoryCheckpoint stored = new MemoryCheckpoint();
    stored.add(TensorInfo.of("t", DType.U8, 2, q.length / 2), q);
    stored.add("t_codebook", DType.F32, entries, 1, 8);
    stored.add("t_shape", DType.I64, new double[] {2, cols}, 2);
    try (Checkpoint view = Decoding.view(stored)) {
      double[] y = Numbers.decode(DType.F32, read(view, "t", 0, 8 * cols));
      for (int i = 0; i < y.length; i++) {
        int at = i / cols * (q.length / 2) * 8 + i % cols * 3;
        int index = 0;
        for (int b = 0; b < 3; b++) {
          index |= (q[(at + b) / 8] >> (at + b) % 8 & 1) << b;
        }
        assertEquals((float) entries[index], (float) y[i]);
      }
      for (int i = 0; i < 20; i++) {
        int begin = random.nextInt(8 * cols - 1000);
        byte[] part = read(view, "t", begin / 4 * 4, 400);
        for (int j = 0; j < 100; j++) {
          double value = Numbers.decode(DType.F32, Arrays.copyOfRange(part, 4 * j, 4 * j + 4))[0];
          assertEquals(y[begin / 4 + j], value);
        }
      }
    }
  }

  private static byte[] decodedByHand(Cluster pass, TensorInfo info, MemoryWriter writer) {
    byte[] q = writer.data.get(info.name());
    double[] codebooks = Numbers.decode(DType.F32, writer.data.get(info.name() + "_codebook"));
    double[] values = new double[(int) info.elements()];
    long width = pass.packedBytes(info.cols());
    for (int row = 0; row < info.rows(); row++) {
      int group = pass.rows() == 0 ? 0 : (int) (row / pass.rowsPerGroup(info.rows()));
      for (int col = 0; col < info.cols(); col++) {
        int index = 0;
        for (int b = 0; b < pass.bits(); b++) {
          int at = (int) (row * width * 8) + col * pass.bits() + b;
          index |= (q[at / 8] >> at % 8 & 1) << b;
        }
        values[(int) (row * info.cols()) + col] = codebooks[group * pass.entries() + index];
      }
    }
    return Numbers.encode(DType.F32, values);
  }

  private static byte[] read(Checkpoint view, String name, long offset, int count)
      throws IOException {
    ByteBuffer target = ByteBuffer.allocate(count);
    view.read(name, offset, target);
    assertEquals(count, target.position());
    return target.array();
  }
}
