package dev.sinew.collective;

import java.util.function.IntConsumer;
import java.util.function.IntSupplier;

/** CUDA's current GPU of the calling thread, which belongs to whoever calls us. */
final class CurrentGpu {
  private final IntSupplier get;
  private final IntConsumer set;

  CurrentGpu(IntSupplier get, IntConsumer set) {
    this.get = get;
    this.set = set;
  }

  /**
   * Runs work while this GPU is the current one, and restores the one that was, whatever happens.
   */
  void during(int gpu, Runnable work) {
    int before = get.getAsInt();
    set.accept(gpu);
    try {
      work.run();
    } finally {
      set.accept(before);
    }
  }
}
