package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.internal.NativeLibrary;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import picocli.CommandLine.TypeConversionException;

/** The name of a file on the command line. */
final class FileName {
  /** What Java puts in the place of bytes that it could not decode. */
  private static final char REPLACEMENT = '\ufffd';

  private FileName() {}

  /**
   * Refuses the empty name, which Java takes for the current folder and shells make of a variable
   * that is not set, and names that Java has lost characters of, so that no other file is used.
   */
  static Path parse(String name) {
    if (name.isEmpty()) {
      throw new TypeConversionException("the name of a file is empty; give a name");
    }
    try {
      Path path = Path.of(name);
      if (name.indexOf(REPLACEMENT) < 0 || Files.exists(path)) {
        return path;
      }
    } catch (InvalidPathException e) {
      // Said below.
    }
    throw new TypeConversionException(
        "the name '"
            + Messages.printable(name)
            + "' has characters that are not in the encoding of file names, "
            + NativeLibrary.FILE_NAMES
            + "; "
            + (NativeLibrary.FILE_NAMES.equals(StandardCharsets.UTF_8)
                ? "rename the file"
                : "set LC_ALL=C.UTF-8, or rename the file"));
  }
}
