package dev.sinew.fuzz;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Any bytes as the pickle of a well-formed archive with two storages, so that no input is spent on
 * the zip directory.
 */
public final class UnpicklerFuzzer {
  private static final byte[] STORAGE = new byte[64];

  private UnpicklerFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] pickle) {
    ByteArrayOutputStream out = new ByteArrayOutputStream(pickle.length + 1024);
    try (ZipOutputStream zip = new ZipOutputStream(out)) {
      store(zip, "a/data.pkl", pickle);
      store(zip, "a/data/0", STORAGE);
      store(zip, "a/data/1", STORAGE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    PyTorchFuzzer.read(out.toByteArray());
  }

  private static void store(ZipOutputStream zip, String name, byte[] content) throws IOException {
    CRC32 crc = new CRC32();
    crc.update(content);
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(content.length);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(content);
    zip.closeEntry();
  }
}
