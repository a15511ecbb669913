package dev.sinew.fuzz;

import java.util.HexFormat;

/**
 * Any bytes as the object, the keys and the storages of a file from before PyTorch 1.6, behind a
 * well-formed beginning.
 */
public final class LegacyFuzzer {
  /** Magic number, protocol 1001, and {@code {"little_endian": True}}. */
  private static final byte[] BEGINNING =
      HexFormat.of()
          .parseHex(
              "80028a0a6cfc9c46f9206aa850192e80024de9032e"
                  + "80027d580d0000006c6974746c655f656e6469616e88732e");

  private LegacyFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] rest) {
    byte[] file = new byte[BEGINNING.length + rest.length];
    System.arraycopy(BEGINNING, 0, file, 0, BEGINNING.length);
    System.arraycopy(rest, 0, file, BEGINNING.length, rest.length);
    PyTorchFuzzer.read(file);
  }
}
