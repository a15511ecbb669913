package dev.sinew.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes pickles opcode by opcode, so that tests can say exactly what a file holds. */
final class PickleBuilder {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final boolean legacy;

  PickleBuilder() {
    this(false);
  }

  private PickleBuilder(boolean legacy) {
    this.legacy = legacy;
    op(0x80, 2);
  }

  /** A pickle whose storages have six fields, as before PyTorch 1.6. */
  static PickleBuilder legacy() {
    return new PickleBuilder(true);
  }

  PickleBuilder op(int... bytes) {
    for (int b : bytes) {
      out.write(b);
    }
    return this;
  }

  PickleBuilder op(char opcode) {
    return op((int) opcode);
  }

  PickleBuilder raw(byte[] bytes) {
    out.writeBytes(bytes);
    return this;
  }

  PickleBuilder int32(int value) {
    return raw(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }

  PickleBuilder int64(long value) {
    return raw(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
  }

  PickleBuilder text(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return op('X').int32(bytes.length).raw(bytes);
  }

  PickleBuilder integer(long value) {
    if (value >= 0 && value < 256) {
      return op('K', (int) value);
    } else if (value == (int) value) {
      return op('J').int32((int) value);
    }
    return op(0x8a, 8).int64(value);
  }

  PickleBuilder global(String module, String name) {
    return op('c').raw((module + "\n" + name + "\n").getBytes(StandardCharsets.UTF_8));
  }

  PickleBuilder integers(long... values) {
    op('(');
    for (long value : values) {
      integer(value);
    }
    return op('t');
  }

  PickleBuilder storage(String type, String key, long count) {
    op('(').text("storage").global("torch", type).text(key).text("cpu").integer(count);
    return (legacy ? op('N') : this).op('t').op('Q');
  }

  /** A view of {@code viewCount} elements from {@code viewOffset} on, of the legacy layout. */
  PickleBuilder view(
      String type, String key, long count, String viewKey, long viewOffset, long viewCount) {
    op('(').text("storage").global("torch", type).text(key).text("cuda:0").integer(count);
    op('(').text(viewKey).integer(viewOffset).integer(viewCount).op('t');
    return op('t').op('Q');
  }

  /** {@code SHORT_BINSTRING}, a string of Python 2. */
  PickleBuilder python2(String latin1) {
    return op('U', latin1.length()).raw(latin1.getBytes(StandardCharsets.ISO_8859_1));
  }

  PickleBuilder orderedDict() {
    return global("collections", "OrderedDict").op(')').op('R');
  }

  /** A tensor over the storage {@code key} of {@code count} elements. */
  PickleBuilder tensor(
      String type, String key, long count, long offset, long[] size, long[] stride) {
    global("torch._utils", "_rebuild_tensor_v2").op('(').storage(type, key, count);
    integer(offset).integers(size).integers(stride).op(0x89).orderedDict();
    return op('t').op('R');
  }

  /** A one-dimensional float32 tensor that is all of the storage {@code key}. */
  PickleBuilder floats(String key, long count) {
    return tensor("FloatStorage", key, count, 0, shape(count), shape(1));
  }

  byte[] stop() {
    return op('.').bytes();
  }

  byte[] bytes() {
    return out.toByteArray();
  }

  static long[] shape(long... values) {
    return values;
  }
}
