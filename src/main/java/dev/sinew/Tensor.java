package dev.sinew;

import dev.sinew.internal.Handle;
import dev.sinew.internal.NativeLibrary;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.Status;
import dev.sinew.internal.TensorAccess;
import dev.sinew.internal.sn_device;
import dev.sinew.internal.sn_tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A contiguous, row-major array of numbers in native memory. Operations on it are in {@link Ops}.
 *
 * <p>Memory is 64-byte aligned, on huge pages from 4 MiB on, and freed by {@link #close} (or a
 * {@link Scope}). Views share their parent's memory, which lives until the last of them is closed.
 * Elements are little-endian, as on every supported machine.
 *
 * <p>Metadata never changes; many threads may read one tensor at once. Two threads that write the
 * same elements, or write while others read, have to agree among themselves. Closing a tensor while
 * a call uses it throws {@link IllegalStateException} in the closing thread; using it afterwards
 * throws it in the using one.
 */
public final class Tensor implements AutoCloseable {
  private static final int COPY_LIMIT = 1 << 30;

  static {
    TensorAccess.provide(
        new TensorAccess() {
          @Override
          public sn_tensor acquire(Tensor tensor) {
            return tensor.acquire();
          }

          @Override
          public void release(Tensor tensor) {
            tensor.release();
          }

          @Override
          public int code(DType dtype) {
            return dtype.code();
          }
        });
  }

  private final Device device;
  private final DType dtype;
  private final long[] shape;
  private final long elements;
  private final long address;
  private final Handle<sn_tensor> handle;
  // Keeps alive what the memory belongs to, for views of a buffer.
  private final Object owner;
  // Of a mapped file: a write to its pages would end the process.
  private final boolean readOnly;

  private Tensor(
      Device device, DType dtype, long[] shape, sn_tensor pointer, Object owner, boolean readOnly) {
    this.device = device;
    this.dtype = dtype;
    this.shape = shape;
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    this.elements = count;
    this.owner = owner;
    this.readOnly = readOnly;
    Pointer data = SinewNative.sn_tensor_data(pointer);
    this.address = data == null ? 0 : data.address();
    this.handle = new Handle<>(this, "tensor", pointer, SinewNative::sn_tensor_close);
  }

  private interface Creation {
    int create(sn_device device, long[] shape, sn_tensor result);
  }

  private static Tensor create(
      Device device, DType dtype, long[] shape, Object owner, boolean readOnly, Creation creation) {
    Objects.requireNonNull(device, "device");
    Objects.requireNonNull(dtype, "dtype");
    long[] dimensions = shape.clone();
    sn_tensor result = new sn_tensor();
    sn_device pointer = device.acquire();
    try {
      Status.check(creation.create(pointer, dimensions, result));
    } finally {
      device.release();
      Reference.reachabilityFence(device);
    }
    return new Tensor(device, dtype, dimensions, result, owner, readOnly);
  }

  /**
   * A new tensor of zeros.
   *
   * @throws IllegalArgumentException if a dimension is negative, the rank exceeds 32, or the dtype
   *     is a storage type
   * @throws OutOfMemoryError if the memory is not there
   */
  public static Tensor allocate(Device device, DType dtype, long... shape) {
    int code = dtype.code();
    return create(
        device,
        dtype,
        shape,
        null,
        false,
        (d, s, result) -> SinewNative.sn_tensor_create(d, code, s.length, s, result));
  }

  /**
   * A new F32 tensor on {@link Device#cpu()} with these values; the shape's product must be their
   * number.
   */
  public static Tensor of(float[] values, long... shape) {
    Tensor tensor = allocate(Device.cpu(), DType.F32, shape);
    try {
      tensor.requireElements(values.length);
      tensor.inChunks(
          (offset, bytes) ->
              tensor.withBuffer(
                  offset,
                  bytes,
                  target -> target.asFloatBuffer().put(values, (int) (offset / 4), bytes / 4)));
      return tensor;
    } catch (RuntimeException e) {
      tensor.close();
      throw e;
    }
  }

  /**
   * A view of the remaining bytes of a direct buffer, without a copy. The tensor keeps the buffer
   * alive.
   *
   * @throws IllegalArgumentException if the buffer is not direct, not aligned to the element size,
   *     read-only, or not of the shape's size
   */
  public static Tensor wrap(Device device, ByteBuffer buffer, DType dtype, long... shape) {
    if (!buffer.isDirect() || buffer.isReadOnly()) {
      throw new IllegalArgumentException("only a writable direct buffer can be wrapped");
    }
    int code = dtype.code();
    long bytes = byteSize(dtype, shape);
    if (bytes != buffer.remaining()) {
      throw new IllegalArgumentException(
          "the buffer has "
              + buffer.remaining()
              + " bytes, the shape "
              + Arrays.toString(shape)
              + " of "
              + dtype
              + " takes "
              + bytes);
    }
    Pointer start = new BytePointer(buffer.slice());
    return create(
        device,
        dtype,
        shape,
        buffer,
        false,
        (d, s, result) -> SinewNative.sn_tensor_wrap(d, start, code, s.length, s, result));
  }

  /**
   * A read-only view of a file's bytes from {@code offset} on, mapped into memory without a copy.
   *
   * <p>Use it for files that nobody changes: one that is truncated while mapped ends the process.
   *
   * @throws IllegalArgumentException if the offset is not a multiple of the element size, as in
   *     some checkpoints: read such a tensor instead
   * @throws UncheckedIOException if this is not a regular file, cannot be opened or is too short
   */
  public static Tensor map(Device device, Path file, long offset, DType dtype, long... shape) {
    int code = dtype.code();
    // Opening a pipe would wait for a writer.
    if (!Files.isRegularFile(file)) {
      String message =
          "'"
              + file
              + (Files.exists(file) ? "' is not a regular file" : "' does not exist")
              + ", so it cannot be mapped";
      throw new UncheckedIOException(message, new IOException(message));
    }
    byte[] name = file.toAbsolutePath().toString().getBytes(NativeLibrary.FILE_NAMES);
    // In a buffer, not in memory that JavaCPP allocates, which it refuses to do once the process
    // takes
    // four times the heap. With the zero byte that ends a C string.
    ByteBuffer string = ByteBuffer.allocateDirect(name.length + 1).put(name).rewind();
    BytePointer path = new BytePointer(string);
    try {
      return create(
          device,
          dtype,
          shape,
          null,
          true,
          (d, s, result) -> SinewNative.sn_tensor_map(d, path, offset, code, s.length, s, result));
    } finally {
      Reference.reachabilityFence(string);
    }
  }

  /**
   * A view of {@code product(shape)} elements from element {@code first} on, in a new shape.
   *
   * @throws IllegalArgumentException if they do not lie inside this tensor
   */
  public Tensor view(long first, long... shape) {
    sn_tensor parent = handle.acquire();
    try {
      return create(
          device,
          dtype,
          shape,
          owner,
          readOnly,
          (d, s, result) -> SinewNative.sn_tensor_view(parent, first, s.length, s, result));
    } finally {
      handle.release();
      Reference.reachabilityFence(this);
    }
  }

  /**
   * A view of rows {@code [from, to)} of the first dimension.
   *
   * @throws IllegalArgumentException for a scalar, or if the rows are not there
   */
  public Tensor slice(long from, long to) {
    if (shape.length == 0 || from < 0 || to < from || to > shape[0]) {
      throw new IllegalArgumentException(
          "rows [" + from + ", " + to + ") are not within the shape " + Arrays.toString(shape));
    }
    long[] part = shape.clone();
    part[0] = to - from;
    return view(shape[0] == 0 ? 0 : elements / shape[0] * from, part);
  }

  public Device device() {
    return device;
  }

  public DType dtype() {
    return dtype;
  }

  /** A copy of the shape. */
  public long[] shape() {
    return shape.clone();
  }

  /** The number of dimensions; 0 for a scalar. */
  public int rank() {
    return shape.length;
  }

  /**
   * The size of one dimension, without the copy that {@link #shape} makes; -1 is the last one.
   *
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public long size(int dimension) {
    return shape[dimension < 0 ? shape.length + dimension : dimension];
  }

  /** The number of elements; 1 for a scalar. */
  public long elements() {
    return elements;
  }

  public long byteSize() {
    return dtype.bytes(elements);
  }

  /**
   * The rows of the matrix [rows, cols] that operations see: the first dimension, or 1 below rank
   * 2.
   */
  public long rows() {
    return shape.length < 2 ? 1 : shape[0];
  }

  /** The columns of the matrix [rows, cols]: the product of the other dimensions. */
  public long cols() {
    return rows() == 0 ? 0 : elements / rows();
  }

  /**
   * The address of the first element, for wrapping it in a MemorySegment; valid until the memory is
   * freed. Of a tensor on a GPU it is an address there.
   */
  public long address() {
    return address;
  }

  public boolean isClosed() {
    return handle.isClosed();
  }

  /**
   * Copies all remaining bytes of {@code source} to this tensor from byte {@code byteOffset} on.
   *
   * @throws IllegalArgumentException if they do not fit, or this is a view of a mapped file
   */
  public void copyFrom(long byteOffset, ByteBuffer source) {
    if (readOnly) {
      throw new IllegalArgumentException("the tensor is read-only: it is a view of a mapped file");
    }
    if (!device.isGpu()) {
      withBuffer(byteOffset, source.remaining(), target -> target.put(source));
      return;
    }
    withDirect(
        source,
        (from, bytes) ->
            NativeCall.call(
                this,
                null,
                null,
                null,
                (to, b, c, d) -> SinewNative.sn_tensor_write(to, byteOffset, from, bytes)),
        true);
  }

  /**
   * Fills {@code target} with the bytes from {@code byteOffset} on.
   *
   * @throws IllegalArgumentException if there are not that many
   */
  public void copyTo(long byteOffset, ByteBuffer target) {
    if (!device.isGpu()) {
      withBuffer(byteOffset, target.remaining(), target::put);
      return;
    }
    withDirect(
        target,
        (to, bytes) ->
            NativeCall.call(
                this,
                null,
                null,
                null,
                (from, b, c, d) -> SinewNative.sn_tensor_read(from, byteOffset, to, bytes)),
        false);
  }

  private interface DirectUse {
    void accept(BytePointer start, long bytes);
  }

  // Lends the address of what remains of a buffer, of a copy if it has none, and moves its
  // position to the end.
  private static void withDirect(ByteBuffer buffer, DirectUse use, boolean reads) {
    int bytes = buffer.remaining();
    if (buffer.isDirect() && !buffer.isReadOnly() && bytes > 0) {
      use.accept(new BytePointer(buffer.slice()), bytes);
      buffer.position(buffer.limit());
      Reference.reachabilityFence(buffer);
      return;
    }
    try (Tensor staged = allocate(Device.cpu(), DType.U8, bytes)) {
      if (reads) {
        staged.copyFrom(0, buffer);
      }
      sn_tensor pointer = staged.acquire();
      try {
        use.accept(new BytePointer(SinewNative.sn_tensor_data(pointer)), bytes);
      } finally {
        staged.release();
      }
      if (!reads) {
        staged.copyTo(0, buffer);
      }
    }
  }

  /**
   * A new tensor on another device, or on the same one, with the elements of this one. From the
   * host's memory to a GPU they are copied, from 256 KiB on, beside what the GPU computes.
   *
   * @throws OutOfMemoryError if the memory is not there
   */
  public Tensor to(Device target) {
    if (device.isGpu() && target.isGpu()) {
      try (Tensor host = to(Device.cpu())) {
        return host.to(target);
      }
    }
    if (!device.isGpu()) {
      int code = dtype.code();
      Pointer from = SinewNative.sn_tensor_data(handle.acquire());
      try {
        return create(
            target,
            dtype,
            shape,
            null,
            false,
            (d, s, result) ->
                SinewNative.sn_tensor_create_from(d, code, s.length, s, from, result));
      } finally {
        handle.release();
        Reference.reachabilityFence(this);
      }
    }
    Tensor copy = allocate(target, dtype, shape);
    try {
      NativeCall.call(
          this,
          copy,
          null,
          null,
          (from, to, c, d) ->
              SinewNative.sn_tensor_read(from, 0, SinewNative.sn_tensor_data(to), byteSize()));
      return copy;
    } catch (RuntimeException | Error e) {
      copy.close();
      throw e;
    }
  }

  /**
   * The values as floats, converted from F64, F16 or BF16 as {@link Ops#convert} does.
   *
   * @throws IllegalArgumentException if the dtype is not floating or there are more elements than
   *     an array holds
   */
  public float[] toFloats() {
    int length = arrayLength();
    if (device.isGpu()) {
      try (Tensor host = to(Device.cpu())) {
        return host.toFloats();
      }
    }
    if (dtype != DType.F32) {
      try (Tensor converted = allocate(device, DType.F32, shape)) {
        Ops.convert(this, converted);
        return converted.toFloats();
      }
    }
    float[] values = new float[length];
    inChunks(
        (offset, bytes) ->
            withBuffer(
                offset, bytes, b -> b.asFloatBuffer().get(values, (int) (offset / 4), bytes / 4)));
    return values;
  }

  /** The bytes of all elements; at most about 2 GiB. */
  public byte[] toBytes() {
    if (byteSize() > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "a tensor of " + byteSize() + " bytes does not fit an array");
    }
    byte[] bytes = new byte[(int) byteSize()];
    copyTo(0, ByteBuffer.wrap(bytes));
    return bytes;
  }

  /**
   * The values of an F64 tensor.
   *
   * @throws IllegalArgumentException if the dtype is another
   */
  public double[] toDoubles() {
    require(DType.F64);
    if (device.isGpu()) {
      try (Tensor host = to(Device.cpu())) {
        return host.toDoubles();
      }
    }
    double[] values = new double[arrayLength()];
    inChunks(
        (offset, bytes) ->
            withBuffer(
                offset, bytes, b -> b.asDoubleBuffer().get(values, (int) (offset / 8), bytes / 8)));
    return values;
  }

  /**
   * The values of an I64 tensor.
   *
   * @throws IllegalArgumentException if the dtype is another
   */
  public long[] toLongs() {
    require(DType.I64);
    if (device.isGpu()) {
      try (Tensor host = to(Device.cpu())) {
        return host.toLongs();
      }
    }
    long[] values = new long[arrayLength()];
    inChunks(
        (offset, bytes) ->
            withBuffer(
                offset, bytes, b -> b.asLongBuffer().get(values, (int) (offset / 8), bytes / 8)));
    return values;
  }

  private interface Chunk {
    void at(long byteOffset, int bytes);
  }

  private void inChunks(Chunk chunk) {
    for (long offset = 0; offset < byteSize(); offset += COPY_LIMIT) {
      chunk.at(offset, (int) Math.min(COPY_LIMIT, byteSize() - offset));
    }
  }

  private int arrayLength() {
    if (elements > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "a tensor of " + elements + " elements does not fit an array");
    }
    return (int) elements;
  }

  private void require(DType wanted) {
    if (dtype != wanted) {
      throw new IllegalArgumentException("the tensor is " + dtype + ", not " + wanted);
    }
  }

  private void requireElements(long count) {
    if (count != elements) {
      throw new IllegalArgumentException(
          count + " values do not fill the shape " + Arrays.toString(shape));
    }
  }

  /**
   * What {@link #withBuffer} runs.
   *
   * @param <X> the exception it may throw
   */
  public interface BufferUse<X extends Exception> {
    /** Uses the buffer, which must not be kept. */
    void accept(ByteBuffer buffer) throws X;
  }

  /**
   * Lends a little-endian buffer over {@code bytes} bytes of the memory, for example to read a file
   * into it without a copy. The tensor cannot be closed meanwhile, and the buffer must not be used
   * afterwards. It is read-only if this is a view of a mapped file.
   *
   * @throws IllegalArgumentException if the range does not lie inside the tensor
   * @throws UnsupportedOperationException if the tensor is on a GPU
   */
  public <X extends Exception> void withBuffer(long byteOffset, int bytes, BufferUse<X> use)
      throws X {
    if (byteOffset < 0 || bytes < 0 || byteOffset > byteSize() - bytes) {
      throw new IllegalArgumentException(
          bytes
              + " bytes from "
              + byteOffset
              + " on are not within a tensor of "
              + byteSize()
              + " bytes");
    }
    if (device.isGpu()) {
      throw new UnsupportedOperationException(
          "the tensor is in the memory of a GPU, which no buffer can lie over: copy it with to,"
              + " copyFrom or copyTo");
    }
    sn_tensor pointer = handle.acquire();
    try {
      if (bytes == 0) {
        use.accept(ByteBuffer.allocate(0).order(ByteOrder.LITTLE_ENDIAN));
        return;
      }
      // A buffer that begins at the offset, which itself may be beyond what a buffer's position
      // holds.
      BytePointer start =
          new BytePointer(SinewNative.sn_tensor_data(pointer)).getPointer(byteOffset);
      ByteBuffer buffer = start.capacity(bytes).asByteBuffer();
      use.accept((readOnly ? buffer.asReadOnlyBuffer() : buffer).order(ByteOrder.LITTLE_ENDIAN));
    } finally {
      handle.release();
      Reference.reachabilityFence(this);
    }
  }

  private static long byteSize(DType dtype, long[] shape) {
    long product = 1;
    try {
      for (long size : shape) {
        product = Math.multiplyExact(product, size);
      }
      return dtype.bytes(product);
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(
          "the shape " + Arrays.toString(shape) + " is larger than memory", e);
    }
  }

  sn_tensor acquire() {
    return handle.acquire();
  }

  void release() {
    handle.release();
  }

  /**
   * Frees the memory, unless views still use it. Idempotent.
   *
   * @throws IllegalStateException if a call is using this tensor
   */
  @Override
  public void close() {
    handle.close();
    Reference.reachabilityFence(this);
  }

  @Override
  public String toString() {
    return "Tensor(" + dtype + " " + Arrays.toString(shape) + (isClosed() ? ", closed)" : ")");
  }
}
