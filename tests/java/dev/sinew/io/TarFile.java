package dev.sinew.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Writes tar archives header by header, and the entries that {@code torch.save} put in them. */
final class TarFile {
  private static final int BLOCK = 512;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  static byte[] header(String name, char type, String size) {
    return header(name, type, size.getBytes(StandardCharsets.US_ASCII), "ustar\00000");
  }

  static byte[] header(String name, char type, byte[] size, String magic) {
    byte[] header = new byte[BLOCK];
    put(header, 0, name.getBytes(StandardCharsets.UTF_8));
    put(header, 100, "0000644".getBytes(StandardCharsets.US_ASCII));
    put(header, 124, size);
    header[156] = (byte) type;
    put(header, 257, magic.getBytes(StandardCharsets.US_ASCII));
    return sign(header);
  }

  /** Writes the checksum. */
  static byte[] sign(byte[] header) {
    put(header, 148, "        ".getBytes(StandardCharsets.US_ASCII));
    int sum = 0;
    for (byte b : header) {
      sum += b & 0xff;
    }
    put(header, 148, String.format("%06o\0", sum).getBytes(StandardCharsets.US_ASCII));
    return header;
  }

  private static void put(byte[] header, int at, byte[] field) {
    System.arraycopy(field, 0, header, at, field.length);
  }

  TarFile raw(byte[] bytes) {
    out.writeBytes(bytes);
    return this;
  }

  TarFile entry(String name, byte[] content) {
    return entry(name, '0', content);
  }

  TarFile entry(String name, char type, byte[] content) {
    raw(header(name, type, String.format("%011o", content.length))).raw(content);
    return raw(new byte[(BLOCK - content.length % BLOCK) % BLOCK]);
  }

  /** An extended header, as Python writes one before each entry for its time. */
  TarFile pax(String key, String value) {
    String rest = " " + key + "=" + value + "\n";
    int length = rest.length() + 2;
    length = rest.length() + Integer.toString(length).length();
    byte[] record = (length + rest).getBytes(StandardCharsets.UTF_8);
    return entry("././@PaxHeader", 'x', record);
  }

  byte[] bytes() {
    return out.toByteArray();
  }

  /** With the two blocks of zeros that end an archive. */
  byte[] ended() {
    return raw(new byte[2 * BLOCK]).bytes();
  }

  Path write(Path folder) throws IOException {
    return Files.write(folder.resolve("model.tar"), ended());
  }

  // The entries of torch.save.

  static byte[] join(byte[]... parts) {
    ByteArrayOutputStream joined = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      joined.writeBytes(part);
    }
    return joined.toByteArray();
  }

  static byte[] count(long count) {
    return new PickleBuilder().integer(count).stop();
  }

  static byte[] storage(long key, String type, long count, byte[] data) {
    PickleBuilder head = new PickleBuilder().integer(key).text("cpu").global("torch", type);
    return join(head.op(0x87).stop(), int64(count), data);
  }

  static byte[] floats(long key, float... values) {
    ByteBuffer data = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    data.asFloatBuffer().put(values);
    return storage(key, "FloatStorage", values.length, data.array());
  }

  /** Fours of key, key of the storage, offset and count. */
  static byte[] views(long... fields) {
    PickleBuilder list = new PickleBuilder().op(']').op('(');
    for (int i = 0; i < fields.length; i += 4) {
      list.integers(fields[i], fields[i + 1], fields[i + 2], fields[i + 3]);
    }
    return list.op('e').stop();
  }

  static byte[] tensor(
      long key, Long storage, String type, long offset, long[] size, long[] stride) {
    PickleBuilder head = new PickleBuilder().integer(key);
    if (storage == null) {
      head.op('N');
    } else {
      head.integer(storage);
    }
    head.global("torch", type).op(0x87);
    ByteBuffer numbers =
        ByteBuffer.allocate(8 + 8 * size.length + 8 * stride.length + 8)
            .order(ByteOrder.LITTLE_ENDIAN);
    // Torch wrote eight bytes where it had an integer of four.
    numbers.putInt(size.length).putInt(0x5eadbeef);
    for (long s : size) {
      numbers.putLong(s);
    }
    for (long s : stride) {
      numbers.putLong(s);
    }
    numbers.putLong(offset);
    return join(head.stop(), numbers.array());
  }

  private static byte[] int64(long value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }

  /** The archive that torch.save writes of these entries. */
  static TarFile of(byte[] pickle, byte[] tensors, byte[] storages) {
    return new TarFile()
        .pax("mtime", "1478000000.25")
        .entry("sys_info", LegacyFile.machine(true))
        .pax("mtime", "1478000000.25")
        .entry("pickle", pickle)
        .entry("tensors", tensors)
        .entry("storages", storages);
  }
}
