package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * One worker's memory, grown as needed and used again for every tile. Used by one thread at a time.
 *
 * <p>A role keeps memory of the last dtype only, or a model of several would take several times as
 * much.
 */
final class Workspace implements AutoCloseable {
  private final int worker;
  private final Device device;
  private final Map<String, Tensor> memory = new HashMap<>();
  private final List<Tensor> views = new ArrayList<>();

  Workspace(int worker, Device device) {
    this.worker = worker;
    this.device = device;
  }

  int worker() {
    return worker;
  }

  /** A view of the memory kept for this role, in this shape; valid until {@link #recycle}. */
  Tensor tensor(String role, DType dtype, long... shape) {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    Tensor base = memory.get(role);
    if (base == null || base.dtype() != dtype || base.elements() < elements) {
      if (base != null) {
        memory.remove(role);
        base.close();
      }
      base = Tensor.allocate(device, dtype, elements);
      memory.put(role, base);
    }
    Tensor view = base.view(0, shape);
    views.add(view);
    return view;
  }

  /** Ends all views. */
  void recycle() {
    views.forEach(Tensor::close);
    views.clear();
  }

  @Override
  public void close() {
    recycle();
    memory.values().forEach(Tensor::close);
    memory.clear();
  }
}
