package dev.sinew.fuzz;

import java.nio.charset.StandardCharsets;

/** Headers of tar archives. */
final class TarBlocks {
  static final int BLOCK = 512;
  private static final int CHECKSUM_AT = 148;

  private TarBlocks() {}

  /** Writes a header for a file, with its checksum. */
  static void header(byte[] archive, int at, String name, int size) {
    put(archive, at, name);
    put(archive, at + 124, String.format("%011o", size));
    archive[at + 156] = '0';
    put(archive, at + 257, "ustar\00000");
    sign(archive, at);
  }

  /** Makes the checksum of the block at {@code at} right. */
  static void sign(byte[] archive, int at) {
    put(archive, at + CHECKSUM_AT, "        ");
    int sum = 0;
    for (int i = at; i < at + BLOCK; i++) {
      sum += archive[i] & 0xff;
    }
    put(archive, at + CHECKSUM_AT, String.format("%06o\0", sum));
  }

  private static void put(byte[] archive, int at, String field) {
    byte[] bytes = field.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(bytes, 0, archive, at, bytes.length);
  }
}
