package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Models of more tensors than there are runs at a time. */
class ManyTensorsTest {
  private static final int COUNT = 10_000;

  /** Sets everything to what was there before, and counts the runs that are open. */
  private static final class Counting implements Pass {
    final AtomicInteger open = new AtomicInteger();
    final AtomicInteger most = new AtomicInteger();
    final AtomicInteger tiles = new AtomicInteger();

    @Override
    public String recipe() {
      return "--count";
    }

    @Override
    public Extent extent() {
      return Extent.ELEMENT;
    }

    @Override
    public long alignment() {
      return 1;
    }

    @Override
    public PassRun start(List<TensorInfo> tensors) {
      assertEquals(COUNT, tensors.size());
      return (tensor, grid) -> {
        most.accumulateAndGet(open.incrementAndGet(), Math::max);
        return new PassRun.TensorRun() {
          @Override
          public void apply(Tile tile, PassRun.Emitter emitter) {
            tiles.incrementAndGet();
          }

          @Override
          public void close() {
            open.decrementAndGet();
          }
        };
      };
    }
  }

  @Test
  void runsOfTensorsAreBounded() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    for (int i = 0; i < COUNT; i++) {
      model.add("layers." + i + ".weight", DType.F32, new double[] {i, -i}, 1, 2);
    }
    Counting counting = new Counting();
    MemoryWriter writer = new MemoryWriter();
    Optimizer.optimize(model, List.of(counting), Optimizer.Options.defaults(), writer);
    assertEquals(COUNT, counting.tiles.get());
    assertEquals(0, counting.open.get());
    assertTrue(counting.most.get() <= 4096, counting.most.get() + " runs at a time");
    assertTrue(writer.committed);
    for (int i = 0; i < COUNT; i += 997) {
      String name = "layers." + i + ".weight";
      assertArrayEquals(model.bytes(name), writer.data.get(name), name);
    }
  }
}
