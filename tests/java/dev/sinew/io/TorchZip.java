package dev.sinew.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/** Writes archives as {@code torch.save} does, with the JDK's zip writer. */
final class TorchZip {
  private final Map<String, byte[]> entries = new LinkedHashMap<>();

  private TorchZip() {}

  static TorchZip of(byte[] pickle) {
    return new TorchZip().entry("archive/data.pkl", pickle).entry("archive/byteorder", "little");
  }

  static TorchZip empty() {
    return new TorchZip();
  }

  TorchZip entry(String name, byte[] content) {
    entries.put(name, content);
    return this;
  }

  TorchZip entry(String name, String content) {
    return entry(name, content.getBytes(StandardCharsets.UTF_8));
  }

  TorchZip without(String name) {
    entries.remove(name);
    return this;
  }

  TorchZip storage(String key, byte[] content) {
    return entry("archive/data/" + key, content);
  }

  TorchZip storage(String key, float... values) {
    ByteBuffer buffer = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    buffer.asFloatBuffer().put(values);
    return storage(key, buffer.array());
  }

  byte[] bytes() {
    return bytes(ZipEntry.STORED);
  }

  byte[] bytes(int method) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(out)) {
      for (Map.Entry<String, byte[]> e : entries.entrySet()) {
        ZipEntry entry = new ZipEntry(e.getKey());
        entry.setMethod(method);
        if (method == ZipEntry.STORED) {
          CRC32 crc = new CRC32();
          crc.update(e.getValue());
          entry.setCrc(crc.getValue());
          entry.setSize(e.getValue().length);
        }
        zip.putNextEntry(entry);
        zip.write(e.getValue());
        zip.closeEntry();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toByteArray();
  }

  Path write(Path folder) throws IOException {
    return Files.write(folder.resolve("model.pt"), bytes());
  }
}
