package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Memory for the activations of one request after another. Tensors that it has given out stay valid
 * until {@link #reset}, or until they are {@linkplain #release released}; then their memory, and
 * the tensors themselves, are given out again. So a model that is asked for the same shapes over
 * and over allocates nothing after its first few requests.
 *
 * <pre>{@code
 * Tensor logits = model.forward(input, arena);
 * ... read the logits ...
 * arena.reset();
 * }</pre>
 *
 * <p>It keeps as much memory as the largest request has needed. Contents of new tensors are
 * unspecified. For one thread at a time: a server has an arena for each thread that serves
 * requests. Tensors of an arena are not to be closed by others.
 */
public final class Arena implements AutoCloseable {
  // A block serves tensors of at least a quarter of its size, so that small ones do not keep large
  // blocks from large ones; below this many elements the size does not matter.
  private static final int WASTE = 4;
  private static final long SMALL = 4096;
  // Shapes that a block remembers, for models whose sequences have ever new lengths.
  private static final int VIEWS = 16;

  /** Memory of one type, and the tensors that have been made of it so far. */
  private static final class Block {
    final Tensor memory;
    final List<View> views = new ArrayList<>();
    int uses;

    Block(Tensor memory) {
      this.memory = memory;
    }
  }

  private static final class View {
    final Block block;
    final Tensor tensor;
    boolean used;

    View(Block block, Tensor tensor) {
      this.block = block;
      this.tensor = tensor;
    }
  }

  private final Device device;
  private final List<Block> blocks = new ArrayList<>();
  private final Map<Tensor, View> views = new IdentityHashMap<>();
  private boolean closed;

  /** An empty arena on {@link Device#cpu()}. */
  public Arena() {
    this(Device.cpu());
  }

  /** An empty arena on a device, on which models then run. */
  public Arena(Device device) {
    this.device = device;
  }

  public Device device() {
    return device;
  }

  /**
   * A tensor of unspecified contents.
   *
   * @throws IllegalStateException if the arena is closed
   */
  public Tensor allocate(DType dtype, long... shape) {
    requireOpen();
    long elements = 1;
    for (long size : shape) {
      elements = Math.multiplyExact(elements, size);
    }
    Block best = null;
    Block outgrown = null;
    for (int i = 0; i < blocks.size(); i++) {
      Block block = blocks.get(i);
      if (block.uses > 0 || block.memory.dtype() != dtype) {
        continue;
      }
      View known = find(block, shape);
      if (known != null) {
        return use(known);
      }
      long capacity = block.memory.elements();
      if (capacity >= elements
          && capacity / WASTE <= Math.max(elements, SMALL)
          && (best == null || capacity < best.memory.elements())) {
        best = block;
      }
      if (capacity < elements && (outgrown == null || capacity > outgrown.memory.elements())) {
        outgrown = block;
      }
    }
    if (best == null) {
      // Sequences that grow and grow take the place of shorter ones, with some room to grow.
      long room = outgrown == null ? elements : elements + elements / WASTE;
      if (outgrown != null) {
        free(outgrown);
      }
      best = new Block(Tensor.allocate(device, dtype, room));
      blocks.add(best);
    }
    return use(add(best, shape));
  }

  /** A tensor of the type and shape of another. */
  public Tensor like(Tensor x) {
    requireOpen();
    for (int i = 0; i < blocks.size(); i++) {
      Block block = blocks.get(i);
      if (block.uses == 0 && block.memory.dtype() == x.dtype()) {
        for (int j = 0; j < block.views.size(); j++) {
          View view = block.views.get(j);
          if (sameShape(view.tensor, x) && !view.tensor.isClosed()) {
            return use(view);
          }
        }
      }
    }
    return allocate(x.dtype(), x.shape());
  }

  /**
   * The elements of x in another shape: a view if x is of this arena, in which case its memory is
   * free again once both are released, and a copy otherwise.
   *
   * @throws IllegalArgumentException if the shape has another number of elements
   */
  public Tensor reshape(Tensor x, long... shape) {
    requireOpen();
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    if (elements != x.elements()) {
      throw new IllegalArgumentException(
          "a tensor of shape "
              + Arrays.toString(x.shape())
              + " cannot take the shape "
              + Arrays.toString(shape));
    }
    View view = views.get(x);
    if (view == null || !view.used) {
      Tensor copy = allocate(x.dtype(), shape);
      Layout.copy(x, 0, copy, 0, x.byteSize());
      return copy;
    }
    View known = find(view.block, shape);
    return use(known != null ? known : add(view.block, shape));
  }

  /**
   * Says that a tensor is not needed any more before the next {@link #reset}. Does nothing for a
   * tensor that is not of this arena, so that a module need not know whose its input is.
   */
  public void release(Tensor tensor) {
    View view = views.get(tensor);
    if (view != null && view.used) {
      view.used = false;
      view.block.uses--;
    }
  }

  /** Takes back all tensors. */
  public void reset() {
    for (int i = 0; i < blocks.size(); i++) {
      Block block = blocks.get(i);
      block.uses = 0;
      for (int j = 0; j < block.views.size(); j++) {
        block.views.get(j).used = false;
      }
    }
  }

  /** The memory it holds, used or not. */
  public long bytes() {
    long bytes = 0;
    for (Block block : blocks) {
      bytes += block.memory.byteSize();
    }
    return bytes;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the arena is closed");
    }
  }

  private static View find(Block block, long[] shape) {
    for (int i = 0; i < block.views.size(); i++) {
      View view = block.views.get(i);
      // One that somebody has closed, against the rules, is not given out again.
      if (!view.used && hasShape(view.tensor, shape) && !view.tensor.isClosed()) {
        return view;
      }
    }
    return null;
  }

  private static boolean hasShape(Tensor tensor, long[] shape) {
    if (tensor.rank() != shape.length) {
      return false;
    }
    for (int i = 0; i < shape.length; i++) {
      if (tensor.size(i) != shape[i]) {
        return false;
      }
    }
    return true;
  }

  private static boolean sameShape(Tensor a, Tensor b) {
    if (a.rank() != b.rank()) {
      return false;
    }
    for (int i = 0; i < a.rank(); i++) {
      if (a.size(i) != b.size(i)) {
        return false;
      }
    }
    return true;
  }

  private View add(Block block, long[] shape) {
    if (block.views.size() >= VIEWS) {
      forget(block);
    }
    View view = new View(block, block.memory.view(0, shape));
    block.views.add(view);
    views.put(view.tensor, view);
    return view;
  }

  private void free(Block block) {
    blocks.remove(block);
    for (View view : block.views) {
      views.remove(view.tensor);
      view.tensor.close();
    }
    block.memory.close();
  }

  // Closes the tensor that was made first of those that are not used.
  private void forget(Block block) {
    for (int i = 0; i < block.views.size(); i++) {
      View view = block.views.get(i);
      if (!view.used) {
        block.views.remove(i);
        views.remove(view.tensor);
        view.tensor.close();
        return;
      }
    }
  }

  private static Tensor use(View view) {
    view.used = true;
    view.block.uses++;
    return view.tensor;
  }

  /**
   * Frees the memory. Idempotent.
   *
   * @throws IllegalStateException if a call is using one of the tensors
   */
  @Override
  public void close() {
    closed = true;
    views
        .keySet()
        .removeIf(
            tensor -> {
              tensor.close();
              return true;
            });
    blocks.forEach(block -> block.memory.close());
    blocks.clear();
  }
}
