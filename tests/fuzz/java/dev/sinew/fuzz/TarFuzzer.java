package dev.sinew.fuzz;

import java.util.Arrays;

/**
 * Any bytes as a tar archive: whatever block is marked as one by {@code ustar} gets the right
 * checksum, so that inputs reach what is behind it.
 */
public final class TarFuzzer {
  private static final byte[] MAGIC = {'u', 's', 't', 'a', 'r'};
  private static final int MAGIC_AT = 257;

  private TarFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) {
    byte[] archive = data.clone();
    for (int at = 0; at + TarBlocks.BLOCK <= archive.length; at += TarBlocks.BLOCK) {
      int magic = at + MAGIC_AT;
      if (Arrays.equals(archive, magic, magic + MAGIC.length, MAGIC, 0, MAGIC.length)) {
        TarBlocks.sign(archive, at);
      }
    }
    PyTorchFuzzer.read(archive);
  }
}
