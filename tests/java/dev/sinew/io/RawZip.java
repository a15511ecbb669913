package dev.sinew.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * Writes zip archives with ZIP64 fields, at any offset of a sparse file, so that archives of many
 * GiB cost nothing.
 */
final class RawZip implements AutoCloseable {
  private record Entry(byte[] name, long size, long headerOffset) {}

  private final FileChannel channel;
  private final List<Entry> entries = new ArrayList<>();
  private long position;

  RawZip(Path file) throws IOException {
    channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.SPARSE,
            StandardOpenOption.WRITE);
  }

  void entry(String name, byte[] content) throws IOException {
    long data = sparseEntry(name, content.length);
    channel.write(ByteBuffer.wrap(content), data);
  }

  /** An entry of zeros; returns where its data begins, for {@link #put}. */
  long sparseEntry(String name, long size) throws IOException {
    byte[] raw = name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer header = littleEndian(30 + raw.length);
    // Flag 3: sizes are left to the directory, as torch does.
    header.putInt(0x04034b50).putShort((short) 45).putShort((short) 8);
    header.position(26).putShort((short) raw.length).putShort((short) 0).put(raw).flip();
    channel.write(header, position);
    entries.add(new Entry(raw, size, position));
    long data = position + 30 + raw.length;
    position = data + size;
    return data;
  }

  void put(long at, byte[] bytes) throws IOException {
    channel.write(ByteBuffer.wrap(bytes), at);
  }

  @Override
  public void close() throws IOException {
    ByteArrayOutputStream directory = new ByteArrayOutputStream();
    for (Entry entry : entries) {
      ByteBuffer record = littleEndian(46 + entry.name.length + 28);
      record.putInt(0x02014b50).putShort((short) 45).putShort((short) 45).putShort((short) 8);
      record.position(20).putInt(-1).putInt(-1);
      record.putShort((short) entry.name.length).putShort((short) 28);
      record.position(42).putInt(-1).put(entry.name);
      record.putShort((short) 1).putShort((short) 24);
      record.putLong(entry.size).putLong(entry.size).putLong(entry.headerOffset);
      directory.writeBytes(record.array());
    }
    ByteBuffer end = littleEndian(56 + 20 + 22);
    end.putInt(0x06064b50).putLong(44).putShort((short) 45).putShort((short) 45);
    end.putInt(0).putInt(0).putLong(entries.size()).putLong(entries.size());
    end.putLong(directory.size()).putLong(position);
    end.putInt(0x07064b50).putInt(0).putLong(position + directory.size()).putInt(1);
    end.putInt(0x06054b50).putShort((short) 0).putShort((short) 0);
    end.putShort((short) -1).putShort((short) -1).putInt(-1).putInt(-1).putShort((short) 0).flip();
    channel.write(ByteBuffer.wrap(directory.toByteArray()), position);
    channel.write(end, position + directory.size());
    channel.close();
  }

  private static ByteBuffer littleEndian(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }
}
