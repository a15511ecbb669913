package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.DType;
import dev.sinew.Tensor;
import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a server relies on: many threads over one set of weights, and no allocation at all. */
@Timeout(120)
class SteadyStateTest {
  private static final long[] SHAPE = {2, 3, 12, 12};

  @TempDir Path folder;

  private static Sequential network() {
    return new Sequential(
        new Conv2d(3, 8, 3, Conv2dOptions.defaults().padding(1)),
        new BatchNorm(8),
        ActivationLayer.relu(),
        new MaxPool2d(2),
        new Flatten(),
        new Linear(8 * 36, 64, true, Activation.RELU),
        new LayerNorm(64),
        new Linear(64, 10),
        new Softmax());
  }

  private Path weights(String recipe) throws IOException {
    Random random = new Random(1);
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("0.weight", DType.F32, Layers.random(random, 8 * 27), 8, 3, 3, 3)
            .add("0.bias", DType.F32, Layers.random(random, 8), 8)
            .add("5.weight", DType.F32, Layers.random(random, 64 * 288), 64, 288)
            .add("5.bias", DType.F32, Layers.random(random, 64), 64)
            .add("7.weight", DType.F32, Layers.random(random, 640), 10, 64)
            .add("7.bias", DType.F32, Layers.random(random, 10), 10);
    for (String name : List.of("weight", "bias", "running_mean", "running_var")) {
      model.add("1." + name, DType.F32, Oracle.absolute(Layers.random(random, 8)), 8);
    }
    for (String name : List.of("weight", "bias")) {
      model.add("6." + name, DType.F32, Layers.random(random, 64), 64);
    }
    return Models.optimized(model, folder, recipe);
  }

  private Sequential load(String recipe) throws IOException {
    Sequential network = network();
    try (Checkpoint checkpoint = Models.open(weights(recipe))) {
      network.load(checkpoint);
    }
    return network;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "int8:channel",
        "int4:group=32",
        "fp8:channel",
        "cluster:bits=4",
        "prune:sparsity=0.5 int8:channel bitmap",
        "prune:sparsity=0.5 bitmap"
      })
  void nothingIsAllocated(String recipe) throws IOException {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Sequential network = load(recipe);
        Arena arena = new Arena();
        Tensor x = Layers.tensor(Layers.random(new Random(2), 2 * 3 * 144), SHAPE)) {
      Tensor first = null;
      for (int i = 0; i < 50; i++) {
        first = network.forward(x, arena);
        arena.reset();
      }
      long handles = Handle.created();
      long tensors = SinewNative.sn_live_tensors();
      long memory = arena.bytes();
      long heap = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
      for (int i = 0; i < 200; i++) {
        Tensor y = network.forward(x, arena);
        assertTrue(y == first, "another tensor");
        arena.reset();
      }
      long perCall = (threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - heap) / 200;
      assertEquals(handles, Handle.created(), "tensors were created");
      assertEquals(tensors, SinewNative.sn_live_tensors(), "native tensors were created");
      assertEquals(memory, arena.bytes(), "the arena has grown");
      assertTrue(perCall < 4096, "a request allocates " + perCall + " bytes of heap");
    }
  }

  @Test
  void manyThreadsShareOneSetOfWeights() throws Exception {
    try (Sequential network = load("int8:channel")) {
      List<Tensor> inputs = new ArrayList<>();
      List<float[]> expected = new ArrayList<>();
      try (Arena arena = new Arena()) {
        for (int i = 0; i < 5; i++) {
          Tensor x = Layers.tensor(Layers.random(new Random(i), 2 * 3 * 144), SHAPE);
          inputs.add(x);
          expected.add(network.forward(x, arena).toFloats());
          arena.reset();
        }
      }
      ExecutorService pool = Executors.newFixedThreadPool(8);
      List<Future<?>> results = new ArrayList<>();
      for (int thread = 0; thread < 8; thread++) {
        int start = thread;
        results.add(
            pool.submit(
                () -> {
                  try (Arena arena = new Arena()) {
                    for (int i = start; i < start + 50; i++) {
                      Tensor y = network.forward(inputs.get(i % 5), arena);
                      assertArrayEquals(expected.get(i % 5), y.toFloats());
                      arena.reset();
                    }
                  }
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
      pool.shutdown();
      inputs.forEach(Tensor::close);
    }
  }
}
