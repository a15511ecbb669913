package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Archives byte for byte as PyTorch's own writer makes them ({@code
 * caffe2/serialize/inline_container.cc} over miniz), where the other tests use the JDK's: sizes of
 * zero in local headers and a descriptor after the data, padding in an extra field {@code FB},
 * ZIP64 fields in both headers of what is large or lies far, and in the records at the end always.
 */
class TorchLayoutTest {
  private static final long GIB = 1L << 30;
  private static final long FULL = 0xffffffffL;

  @TempDir Path folder;

  /** The writer; data that is not given is a hole in a sparse file. */
  private static final class Writer implements AutoCloseable {
    private record Entry(byte[] name, long size, long offset) {}

    private final FileChannel channel;
    private final int alignment;
    private final List<Entry> entries = new ArrayList<>();
    private long position;

    Writer(Path file, int alignment) throws IOException {
      this.channel =
          FileChannel.open(
              file,
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.SPARSE,
              StandardOpenOption.WRITE);
      this.alignment = alignment;
    }

    void record(String name, String text) throws IOException {
      record(name, text.getBytes(StandardCharsets.ISO_8859_1));
    }

    void record(String name, byte[] data) throws IOException {
      long start = record(name, data.length);
      channel.write(ByteBuffer.wrap(data), start);
    }

    /** Returns where the data begins. */
    long record(String name, long size) throws IOException {
      Entry entry = new Entry(name.getBytes(StandardCharsets.UTF_8), size, position);
      entries.add(entry);
      byte[] zip64 = zip64(entry);
      long unpadded = position + 30 + entry.name.length + zip64.length + 4;
      int padding = (int) (alignment - unpadded % alignment);
      ByteBuffer local = buffer(30 + entry.name.length + zip64.length + 4 + padding);
      local.putInt(0x04034b50).putShort((short) 0).putShort((short) 0x0808).putShort((short) 0);
      local.position(26);
      local.putShort((short) entry.name.length).putShort((short) (zip64.length + 4 + padding));
      local.put(entry.name).put(zip64);
      local.put((byte) 'F').put((byte) 'B').putShort((short) padding);
      local.put("Z".repeat(padding).getBytes(StandardCharsets.US_ASCII));
      append(local);
      long data = position;
      assertEquals(0, data % alignment);
      position += size;
      append(buffer(24).putInt(0x08074b50).putInt(0).putLong(size).putLong(size));
      return data;
    }

    private static byte[] zip64(Entry entry) {
      ByteBuffer field = buffer(28).position(4);
      if (entry.size >= FULL) {
        field.putLong(entry.size).putLong(entry.size);
      }
      if (entry.offset >= FULL) {
        field.putLong(entry.offset);
      }
      int length = field.position() - 4;
      if (length == 0) {
        return new byte[0];
      }
      field.putShort(0, (short) 1).putShort(2, (short) length).flip();
      byte[] bytes = new byte[4 + length];
      field.get(bytes);
      return bytes;
    }

    @Override
    public void close() throws IOException {
      long directory = position;
      for (Entry entry : entries) {
        byte[] zip64 = zip64(entry);
        ByteBuffer central = buffer(46 + entry.name.length + zip64.length);
        central.putInt(0x02014b50).putShort((short) 0).putShort((short) 0);
        central.putShort((short) 0x0808).position(20);
        central.putInt((int) Math.min(entry.size, FULL)).putInt((int) Math.min(entry.size, FULL));
        central.putShort((short) entry.name.length).putShort((short) zip64.length).position(42);
        central.putInt((int) Math.min(entry.offset, FULL)).put(entry.name).put(zip64);
        append(central);
      }
      long end = position;
      ByteBuffer end64 = buffer(56).putInt(0x06064b50).putLong(44);
      end64.putShort((short) 0x031e).putShort((short) 45).putInt(0).putInt(0);
      end64.putLong(entries.size()).putLong(entries.size());
      append(end64.putLong(end - directory).putLong(directory));
      append(buffer(20).putInt(0x07064b50).putInt(0).putLong(end).putInt(1));
      ByteBuffer end32 = buffer(22).putInt(0x06054b50).putInt(0);
      end32.putShort((short) entries.size()).putShort((short) entries.size());
      end32.putInt((int) Math.min(end - directory, FULL)).putInt((int) Math.min(directory, FULL));
      append(end32);
      channel.close();
    }

    private void append(ByteBuffer bytes) throws IOException {
      position += channel.write(bytes.rewind(), position);
    }

    private static ByteBuffer buffer(int size) {
      return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  private static void begin(Writer writer, String root, byte[] pickle) throws IOException {
    writer.record(root + "/data.pkl", pickle);
    writer.record(root + "/.format_version", "1");
    writer.record(root + "/.storage_alignment", "64");
    writer.record(root + "/byteorder", "little");
  }

  private static void end(Writer writer, String root) throws IOException {
    writer.record(root + "/version", "3\n");
    writer.record(root + "/.data/serialization_id", "0123456789".repeat(4));
  }

  /** 64 is the usual alignment; torch.utils.serialization.config can ask for that of a page. */
  @ParameterizedTest
  @CsvSource({"archive, 64", "modell größe, 64", "m, 4096"})
  void whatTorchSaveWrites(String root, int alignment) throws IOException {
    Path path = folder.resolve("model.pt");
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("w").floats("0", 3).text("empty").floats("1", 0).op('u');
    try (Writer writer = new Writer(path, alignment)) {
      begin(writer, root, pickle.stop());
      ByteBuffer data = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN);
      writer.record(root + "/data/0", data.putFloat(1.5f).putFloat(-2).putFloat(3).array());
      writer.record(root + "/data/1", 0);
      end(writer, root);
    }
    assertEquals(CheckpointFormat.PYTORCH, CheckpointFormat.recognize(path));
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      assertEquals(List.of("w", "empty"), List.copyOf(checkpoint.tensors().keySet()));
      ByteBuffer values = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN);
      checkpoint.read("w", 0, values);
      assertEquals(1.5f, values.getFloat(0));
      assertEquals(-2, values.getFloat(4));
      assertEquals(3, values.getFloat(8));
      assertEquals(0, checkpoint.region("w").orElseThrow().offset() % alignment);
    }
  }

  /** Sizes around 4 GiB, so that ZIP64 fields hold sizes, an offset, both or neither. */
  @Test
  void largeStorages() throws IOException {
    long[] sizes = {FULL - 3, FULL + 1, 16, 5 * GIB, 16};
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    for (int i = 0; i < sizes.length; i++) {
      pickle.text("t" + i).floats("" + i, sizes[i] / 4);
    }
    Path path = folder.resolve("model.pt");
    long[] offsets = new long[sizes.length];
    try (Writer writer = new Writer(path, 64)) {
      begin(writer, "archive", pickle.op('u').stop());
      for (int i = 0; i < sizes.length; i++) {
        offsets[i] = writer.record("archive/data/" + i, sizes[i] / 4 * 4);
        ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, i + 1);
        writer.channel.write(last, offsets[i] + sizes[i] / 4 * 4 - 4);
      }
      end(writer, "archive");
    }
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      assertTrue(offsets[2] > FULL);
      for (int i = 0; i < sizes.length; i++) {
        assertEquals(offsets[i], checkpoint.region("t" + i).orElseThrow().offset());
        ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
        checkpoint.read("t" + i, sizes[i] / 4 * 4 - 4, last);
        assertEquals(i + 1, last.getFloat(0));
      }
    }
  }
}
