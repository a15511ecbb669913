package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Walks over the entries of a tar archive: the ustar format of POSIX with its extended headers
 * (pax) and GNU's long names. Nothing is unpacked.
 */
final class TarArchive {
  /**
   * An entry.
   *
   * @param name with its folders, without a leading {@code ./}
   * @param isFile whether it is a plain file, not a link, folder or device
   * @param offset where its data begins in the file; it is known to lie within the file
   */
  record Entry(String name, boolean isFile, long offset, long size) {}

  private static final int BLOCK = 512;
  private static final int MAX_HEADERS = 10_000;
  private static final int MAX_EXTENSION = 1 << 20;
  private static final int MAGIC_AT = 257;
  private static final int SIZE_AT = 124;
  private static final int NUMBER_BYTES = 12;
  private static final int CHECKSUM_AT = 148;
  private static final int CHECKSUM_BYTES = 8;
  private static final int TYPE_AT = 156;
  private static final int PREFIX_AT = 345;

  private final InputFile file;
  private final HeapBudget budget;
  private long position;
  private int headers;

  // What extended headers say of the entry that follows them.
  private String longName;
  private long longSize = -1;

  TarArchive(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
  }

  /** Whether a file begins with a header of such an archive. */
  static boolean recognizes(byte[] start) {
    return text(start, MAGIC_AT, 5).equals("ustar");
  }

  /**
   * The next entry, or null after the last.
   *
   * @throws CheckpointException if the headers contradict themselves or the file
   */
  Entry next() throws CheckpointException {
    longName = null;
    longSize = -1;
    while (position < file.size()) {
      byte[] header = header();
      if (header == null) {
        return null;
      }
      long begin = position + BLOCK;
      char type = (char) (header[TYPE_AT] & 0xff);
      switch (type) {
        case 'x' -> readPax(extension(begin, number(header, SIZE_AT, NUMBER_BYTES)));
        case 'L' -> {
          byte[] name = extension(begin, number(header, SIZE_AT, NUMBER_BYTES));
          longName = text(name, 0, name.length);
        }
        // A link's long name, and what pax says of all entries, which is neither name nor size.
        case 'K', 'g' -> extension(begin, number(header, SIZE_AT, NUMBER_BYTES));
        default -> {
          return entry(header, type, begin);
        }
      }
    }
    return null;
  }

  private Entry entry(byte[] header, char type, long begin) throws CheckpointException {
    String name = longName != null ? longName : name(header);
    if (type == 'S') {
      throw sparse(name);
    }
    boolean folder = name.endsWith("/");
    boolean hasData = type < '1' || type > '6';
    long size = longSize >= 0 ? longSize : number(header, SIZE_AT, NUMBER_BYTES);
    budget.charge(2L * name.length());
    advance(begin, hasData ? size : 0, name);
    String plain = name.startsWith("./") ? name.substring(2) : name;
    boolean isFile = !folder && (type == '0' || type == 0 || type == '7');
    return new Entry(plain, isFile, begin, hasData ? size : 0);
  }

  /** The block at the current position, or null if it is the end. */
  private byte[] header() throws CheckpointException {
    if (++headers > MAX_HEADERS) {
      throw failure("it is a tar archive of more than " + MAX_HEADERS + " headers; unpack it");
    }
    if (file.size() - position < BLOCK) {
      throw damaged("its tar header at byte " + position + " is cut off");
    }
    byte[] header = new byte[BLOCK];
    file.read(position, ByteBuffer.wrap(header), "a tar header");
    int sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      boolean inChecksum = i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES;
      sum += inChecksum ? ' ' : header[i] & 0xff;
    }
    if (sum == ' ' * CHECKSUM_BYTES && number(header, CHECKSUM_AT, CHECKSUM_BYTES) == 0) {
      return null;
    }
    if (number(header, CHECKSUM_AT, CHECKSUM_BYTES) != sum) {
      throw damaged("the checksum of its tar header at byte " + position + " is wrong");
    }
    return header;
  }

  private void advance(long begin, long size, String name) throws CheckpointException {
    if (size > file.size() - begin) {
      throw damaged(
          "its entry "
              + Messages.quote(name)
              + " has "
              + size
              + " bytes where "
              + (file.size() - begin)
              + " are left");
    }
    long padding = (BLOCK - size % BLOCK) % BLOCK;
    position = Math.min(begin + size + padding, file.size());
  }

  private byte[] extension(long begin, long size) throws CheckpointException {
    if (size > MAX_EXTENSION) {
      throw damaged("it has an extended tar header of " + size + " bytes");
    }
    advance(begin, size, "of the tar archive itself");
    budget.charge(size);
    byte[] content = new byte[(int) size];
    file.read(begin, ByteBuffer.wrap(content), "a tar header");
    return content;
  }

  /** Records of the form {@code LENGTH KEY=VALUE\n}, the length that of the whole record. */
  private void readPax(byte[] records) throws CheckpointException {
    int at = 0;
    while (at < records.length && records[at] != 0) {
      int digits = at;
      int length = 0;
      while (digits < records.length && records[digits] >= '0' && records[digits] <= '9') {
        length = Math.min(length * 10 + records[digits] - '0', MAX_EXTENSION + 1);
        digits++;
      }
      int end = at + length;
      int key = digits + 1;
      boolean fits =
          key < end && end <= records.length && records[digits] == ' ' && records[end - 1] == '\n';
      String record = fits ? new String(records, key, end - 1 - key, StandardCharsets.UTF_8) : "";
      if (record.indexOf('=') < 0) {
        throw damaged("it has an extended tar header whose records do not fit together");
      }
      if (record.startsWith("path=")) {
        longName = record.substring("path=".length());
      } else if (record.startsWith("size=")) {
        longSize = decimal(record.substring("size=".length()));
      } else if (record.startsWith("GNU.sparse.")) {
        throw sparse(longName == null ? "after byte " + position : longName);
      }
      at = end;
    }
  }

  private long decimal(String text) throws CheckpointException {
    try {
      long value = Long.parseLong(text);
      if (value >= 0) {
        return value;
      }
    } catch (NumberFormatException e) {
      // As if it were negative.
    }
    throw damaged("it has an entry of " + Messages.quote(text) + " bytes");
  }

  private static String name(byte[] header) {
    String name = text(header, 0, 100);
    // GNU's own format, which has a blank here, uses the field of the prefix otherwise.
    String prefix = header[MAGIC_AT + 5] == 0 ? text(header, PREFIX_AT, 155) : "";
    return prefix.isEmpty() ? name : prefix + "/" + name;
  }

  /** Octal digits between blanks, or GNU's base 256 for what is too large for that. */
  private long number(byte[] header, int at, int length) throws CheckpointException {
    long value = 0;
    if (header[at] < 0) {
      boolean fits = header[at] == (byte) 0x80;
      for (int i = at + 1; i < at + length; i++) {
        fits &= value < 1L << 55;
        value = value << 8 | header[i] & 0xff;
      }
      if (fits) {
        return value;
      }
    } else {
      String digits = text(header, at, length).strip();
      try {
        value = digits.isEmpty() ? 0 : Long.parseLong(digits, 8);
        if (value >= 0) {
          return value;
        }
      } catch (NumberFormatException e) {
        // As if it did not fit.
      }
    }
    throw damaged("its tar header at byte " + position + " has no valid number at " + at);
  }

  /** The bytes up to a zero; nothing beyond the end of the array. */
  private static String text(byte[] bytes, int at, int length) {
    int end = at;
    while (end < Math.min(bytes.length, at + length) && bytes[end] != 0) {
      end++;
    }
    return end <= at ? "" : new String(bytes, at, end - at, StandardCharsets.UTF_8);
  }

  private CheckpointException sparse(String name) {
    return failure(
        "its entry "
            + Messages.quote(name)
            + " is stored as a sparse file; unpack it and pack it again without --sparse");
  }

  private CheckpointException damaged(String what) {
    return failure(what + "; the file is damaged or truncated, so get or save it again");
  }

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file.path()) + ": " + what);
  }
}
