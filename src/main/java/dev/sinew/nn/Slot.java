package dev.sinew.nn;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** A tensor that a module has under a name in the state dict. */
abstract class Slot {
  private final List<Long> shape;
  // The whole name in the state dict, known when the network is loaded.
  private volatile String name;

  Slot(long... shape) {
    this.shape = Arrays.stream(shape).boxed().toList();
    for (long size : shape) {
      if (size < 1) {
        throw new IllegalArgumentException(
            "the shape " + this.shape + " has a dimension below 1, so no weights can fill it");
      }
    }
  }

  final List<Long> shape() {
    return shape;
  }

  final void name(String full) {
    name = full;
  }

  final String name() {
    return name;
  }

  /** What is thrown when a module without this tensor is run. */
  final IllegalStateException notLoaded() {
    return new IllegalStateException(
        name == null
            ? "the module has no weights; load a checkpoint first"
            : "the module was loaded without '" + name + "', which the checkpoint lacks");
  }

  /** Loads what takes more than reading, once all {@link Parameter}s of the network are there. */
  void pack(StateDict dict, LoadOptions options) throws IOException {}

  abstract long bytes();

  abstract void close();

  /** What state dicts have and inference does not need, such as counters of training. */
  static final class Ignored extends Slot {
    @Override
    long bytes() {
      return 0;
    }

    @Override
    void close() {}
  }
}
