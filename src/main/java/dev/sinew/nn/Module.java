package dev.sinew.nn;

import dev.sinew.Device;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * A part of a neural network: weights, and other modules inside it, by the names that they have in
 * a state dict.
 *
 * <p>A network of one's own extends this class (or {@link Layer}, if one tensor goes in and one
 * comes out) and registers what it is made of:
 *
 * <pre>{@code
 * final class Classifier extends Layer {
 *   private final Linear hidden = child("fc1", new Linear(784, 128, true, Activation.RELU));
 *   private final Linear out = child("fc2", new Linear(128, 10));
 *
 *   public Tensor forward(Tensor x, Arena arena) {
 *     return out.forward(hidden.forward(x, arena), arena);
 *   }
 * }
 * }</pre>
 *
 * <p>A module is built without weights, {@linkplain #load loaded} once and unchangeable from then
 * on: any number of threads may run it at once, each with its own {@link Arena}. Closing it closes
 * all modules and weights in it; like a tensor it cannot be closed while a call uses it.
 */
public abstract class Module implements AutoCloseable {
  private final Map<String, Module> children = new LinkedHashMap<>();
  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private boolean hasParent;
  private boolean loaded;
  private Device device;

  protected Module() {}

  /**
   * Registers a module inside this one, and returns it.
   *
   * @param name what its tensors' names begin with, before a dot: {@code fc1} for {@code
   *     fc1.weight}
   * @throws IllegalArgumentException if the name is taken, or the module is part of another already
   */
  protected final <M extends Module> M child(String name, M module) {
    requireFree(name);
    Module inside = module;
    if (inside.hasParent || inside.loaded) {
      throw new IllegalArgumentException(
          "the module for " + Messages.quote(name) + " is in use elsewhere; make another one");
    }
    inside.hasParent = true;
    children.put(name, module);
    return module;
  }

  /**
   * Registers a tensor that is kept as F32, in whatever floating type it is stored: a bias, the
   * scale of a norm.
   */
  protected final Parameter parameter(String name, long... shape) {
    return add(name, new Parameter(shape));
  }

  /**
   * Registers the weights of a linear layer or convolution, [out, ...], which are packed for the
   * processor in the type that they are stored in.
   */
  protected final Weight weight(String name, long... shape) {
    return add(name, new Weight(shape));
  }

  /** Names a tensor that state dicts have, but inference does not need. */
  protected final void ignore(String name) {
    add(name, new Slot.Ignored());
  }

  final <S extends Slot> S add(String name, S slot) {
    requireFree(name);
    slots.put(name, slot);
    return slot;
  }

  private void requireFree(String name) {
    if (loaded) {
      throw new IllegalStateException("the module is loaded and cannot be changed any more");
    }
    if (name.isEmpty() || children.containsKey(name) || slots.containsKey(name)) {
      throw new IllegalArgumentException(
          "the module has no place for another "
              + Messages.quote(name)
              + "; use a name that is free");
    }
  }

  /** The modules inside, by name, in the order of their registration. */
  public final Map<String, Module> children() {
    return Collections.unmodifiableMap(children);
  }

  final Map<String, Slot> slots() {
    return slots;
  }

  /**
   * Chooses the device where the weights will be packed and where the module computes, on tensors
   * of the same device; once, before it is loaded, because weights are packed in an order that
   * belongs to a device. {@link LoadOptions#on} does the same for one load.
   *
   * @return this
   * @throws IllegalStateException if the module is loaded, or a part of another one
   */
  public final Module to(Device target) {
    synchronized (this) {
      if (loaded || hasParent) {
        throw new IllegalStateException(
            loaded
                ? "the weights are packed for a device already; choose it before loading"
                : "the module is part of another one; choose the device of that");
      }
      device = Objects.requireNonNull(target, "target");
      return this;
    }
  }

  /** As {@link #load(Checkpoint, LoadOptions)}, strictly. */
  public final LoadReport load(Checkpoint checkpoint) throws IOException {
    return load(checkpoint, LoadOptions.strict());
  }

  /**
   * Reads and packs the weights, by their names in the state dict. They may be stored in any form
   * that {@code optimize} writes: plain, as integers or fp8 with scales, as bitmaps, as indices
   * into codebooks. The checkpoint may be closed afterwards.
   *
   * @return what was loaded, and what was missing or left over
   * @throws dev.sinew.model.CheckpointException if shapes differ, or, with strict options, tensors
   *     are missing or left over; the sentence lists them
   * @throws IllegalStateException if the module is loaded already
   * @throws UnsupportedOperationException if the device is a GPU and weights are stored in a form
   *     that has no kernels there; the sentence names both
   * @throws IOException if reading fails; the module is as before
   */
  public final LoadReport load(Checkpoint checkpoint, LoadOptions options) throws IOException {
    synchronized (this) {
      if (loaded || hasParent) {
        throw new IllegalStateException(
            loaded
                ? "the module is loaded already; make another one for other weights"
                : "the module is part of another one; load that");
      }
      LoadReport report =
          new Loader(this, checkpoint, device == null ? options : options.on(device)).load();
      markLoaded();
      return report;
    }
  }

  final boolean isLoaded() {
    return loaded;
  }

  private void markLoaded() {
    loaded = true;
    children.values().forEach(Module::markLoaded);
  }

  /** What is done once all parameters of the whole network are there. */
  void loadWeights(StateDict dict, LoadOptions options) throws IOException {
    for (Slot slot : slots.values()) {
      slot.pack(dict, options);
    }
  }

  /** Bytes of native memory that the weights take, those of modules inside included. */
  public final long bytes() {
    long bytes = ownBytes();
    for (Module child : children.values()) {
      bytes += child.bytes();
    }
    return bytes;
  }

  long ownBytes() {
    return slots.values().stream().mapToLong(Slot::bytes).sum();
  }

  /**
   * Frees the weights. Idempotent.
   *
   * @throws IllegalStateException if a call is using some of them; the others are freed, and it can
   *     be tried again
   */
  @Override
  public void close() {
    RuntimeException failure = null;
    for (Module child : children.values()) {
      failure = tryTo(child::close, failure);
    }
    for (Slot slot : slots.values()) {
      failure = tryTo(slot::close, failure);
    }
    if (failure != null) {
      throw failure;
    }
  }

  private static RuntimeException tryTo(Runnable close, RuntimeException failure) {
    try {
      close.run();
    } catch (RuntimeException e) {
      if (failure == null) {
        return e;
      }
      failure.addSuppressed(e);
    }
    return failure;
  }
}
