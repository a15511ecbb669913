package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;

/**
 * One worker's memory, grown as needed and used again for every tile: on the device that computes,
 * and, where that is a GPU, the host's that data passes through. Used by one thread at a time.
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
    return tensor(device, role, dtype, shape);
  }

  /** The same in the host's memory; roles are different from those of {@link #tensor}. */
  Tensor host(String role, DType dtype, long... shape) {
    Device host = device.isGpu() ? Device.cpu() : device;
    return tensor(host, "host " + role, dtype, shape);
  }

  /**
   * Lends the bytes from {@code offset} on of a tensor of any device, copied to the host's memory
   * if they are not there; what is written to them is lost then.
   */
  <X extends Exception> void read(Tensor data, long offset, int bytes, Tensor.BufferUse<X> use)
      throws X {
    if (!data.device().isGpu()) {
      data.withBuffer(offset, bytes, use);
      return;
    }
    host("staging", DType.U8, bytes)
        .withBuffer(
            0,
            bytes,
            buffer -> {
              data.copyTo(offset, buffer.duplicate());
              use.accept(buffer);
            });
  }

  /**
   * As {@link #tensor}, with the bytes that {@code fill} puts into the buffer it is lent. On a GPU
   * it is new memory, as copies to that wait for no kernels.
   */
  <X extends Exception> Tensor load(
      String role, Tensor.BufferUse<X> fill, DType dtype, long... shape) throws X {
    if (!device.isGpu()) {
      Tensor loaded = tensor(role, dtype, shape);
      loaded.withBuffer(0, Math.toIntExact(loaded.byteSize()), fill);
      return loaded;
    }
    int bytes = Math.toIntExact(dtype.bytes(count(shape)));
    host("staging", DType.U8, bytes)
        .withBuffer(
            0,
            bytes,
            buffer -> {
              ByteBuffer filled = buffer.duplicate();
              fill.accept(buffer);
              try (Tensor host = Tensor.wrap(Device.cpu(), filled, dtype, shape)) {
                views.add(host.to(device));
              }
            });
    return views.get(views.size() - 1);
  }

  /** Lends a buffer that becomes the bytes of a tensor of any device. */
  <X extends Exception> void write(Tensor data, Tensor.BufferUse<X> use) throws X {
    int bytes = Math.toIntExact(data.byteSize());
    if (!data.device().isGpu()) {
      data.withBuffer(0, bytes, use);
      return;
    }
    host("staging", DType.U8, bytes)
        .withBuffer(
            0,
            bytes,
            buffer -> {
              ByteBuffer filled = buffer.duplicate();
              use.accept(buffer);
              data.copyFrom(0, filled);
            });
  }

  private Tensor tensor(Device device, String role, DType dtype, long... shape) {
    long elements = count(shape);
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

  private static long count(long... shape) {
    return LongStream.of(shape).reduce(1, (a, b) -> a * b);
  }

  /** Ends all views, and frees what was loaded. */
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
