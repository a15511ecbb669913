package dev.sinew.fuzz;

import java.util.Arrays;

/**
 * Any bytes as the three entries of a well-formed tar archive: two bytes each for the lengths of
 * {@code pickle} and {@code tensors}, then the content of these two and of {@code storages}.
 */
public final class TarEntriesFuzzer {
  private static final int LENGTHS = 4;

  private TarEntriesFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) {
    if (data.length < LENGTHS) {
      return;
    }
    int first = Math.min(length(data, 0), data.length - LENGTHS);
    int second = Math.min(length(data, 2), data.length - LENGTHS - first);
    byte[] archive = new byte[data.length + 6 * TarBlocks.BLOCK];
    int at = entry(archive, 0, "pickle", data, LENGTHS, first);
    at = entry(archive, at, "tensors", data, LENGTHS + first, second);
    int rest = LENGTHS + first + second;
    at = entry(archive, at, "storages", data, rest, data.length - rest);
    PyTorchFuzzer.read(Arrays.copyOf(archive, at));
  }

  private static int length(byte[] data, int at) {
    return (data[at] & 0xff) | (data[at + 1] & 0xff) << 8;
  }

  /** Writes an entry and returns where the next begins. */
  private static int entry(byte[] archive, int at, String name, byte[] data, int from, int size) {
    TarBlocks.header(archive, at, name, size);
    System.arraycopy(data, from, archive, at + TarBlocks.BLOCK, size);
    int blocks = (size + TarBlocks.BLOCK - 1) / TarBlocks.BLOCK;
    return at + (1 + blocks) * TarBlocks.BLOCK;
  }
}
