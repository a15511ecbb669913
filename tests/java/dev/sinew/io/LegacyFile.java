package dev.sinew.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;

/**
 * Writes files as {@code torch.save} did before PyTorch 1.6, one part after the other, so that
 * tests can leave out, change or repeat any of them.
 */
final class LegacyFile {
  static final String MAGIC = "80028a0a6cfc9c46f9206aa850192e";

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** Magic number, protocol 1001, the facts about a little-endian machine, and an object. */
  static LegacyFile of(byte[] pickle) {
    return new LegacyFile()
        .raw(HexFormat.of().parseHex(MAGIC))
        .raw(new PickleBuilder().integer(1001).stop())
        .raw(machine(true))
        .raw(pickle);
  }

  static byte[] machine(boolean littleEndian) {
    PickleBuilder facts = new PickleBuilder().op('}').op('(');
    facts.text("protocol_version").integer(1001);
    facts.text("little_endian").op(littleEndian ? 0x88 : 0x89);
    facts.text("type_sizes").op('}').text("long").integer(4).op('s');
    return facts.op('u').stop();
  }

  LegacyFile raw(byte[] bytes) {
    out.writeBytes(bytes);
    return this;
  }

  LegacyFile keys(String... keys) {
    PickleBuilder list = new PickleBuilder().op(']').op('(');
    for (String key : keys) {
      list.text(key);
    }
    return raw(list.op('e').stop());
  }

  LegacyFile int64(long value) {
    return raw(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
  }

  LegacyFile storage(long count, byte[] data) {
    return int64(count).raw(data);
  }

  LegacyFile floats(float... values) {
    ByteBuffer buffer = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    buffer.asFloatBuffer().put(values);
    return storage(values.length, buffer.array());
  }

  byte[] bytes() {
    return out.toByteArray();
  }

  Path write(Path folder) throws IOException {
    return Files.write(folder.resolve("model.pth"), bytes());
  }
}
