package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * A part of a file that holds pickles and little-endian numbers, read from front to back through a
 * window of {@value #WINDOW} bytes. Each getter throws if the part ends before what it is to
 * return.
 */
final class PickleInput {
  private static final int WINDOW = 16 << 10;

  /** The longest text that {@link #text} returns; no name of a tensor is as long. */
  static final int MAX_TEXT = WINDOW;

  private static final int MAX_LINE = 1000;

  private final InputFile file;
  private final long begin;
  private final long end;
  private final String where;
  private final ByteBuffer window = ByteBuffer.allocate(WINDOW).order(ByteOrder.LITTLE_ENDIAN);
  private long windowEnd;

  /**
   * @param begin the first byte in the file
   * @param end the byte behind the last; not beyond the end of the file
   * @param where what this is part of, for error messages: {@code "its data.pkl"}
   */
  PickleInput(InputFile file, long begin, long end, String where) {
    this.file = file;
    this.begin = begin;
    this.end = end;
    this.where = where;
    window.limit(0);
    windowEnd = begin;
  }

  InputFile file() {
    return file;
  }

  String where() {
    return where;
  }

  /** Where the next byte lies in the file. */
  long offset() {
    return windowEnd - window.remaining();
  }

  /** Where the next byte lies in this part. */
  long position() {
    return offset() - begin;
  }

  long remaining() {
    return end - offset();
  }

  boolean hasRemaining() {
    return remaining() > 0;
  }

  int unsignedByte() throws PickleException, CheckpointException {
    return window(1).get() & 0xff;
  }

  int unsignedShort() throws PickleException, CheckpointException {
    return window(2).getShort() & 0xffff;
  }

  int int32() throws PickleException, CheckpointException {
    return window(4).getInt();
  }

  long unsignedInt() throws PickleException, CheckpointException {
    return int32() & 0xffffffffL;
  }

  long int64() throws PickleException, CheckpointException {
    return window(8).getLong();
  }

  /** A little-endian two's complement integer of 0 to 8 bytes. */
  long integer(int length) throws PickleException, CheckpointException {
    ByteBuffer bytes = window(length);
    long value = 0;
    for (int i = 0; i < length; i++) {
      value |= (bytes.get() & 0xffL) << (8 * i);
    }
    int unused = 64 - 8 * length;
    return length == 0 ? 0 : value << unused >> unused;
  }

  /** Checks that {@code length} bytes follow. */
  long length(long length) throws PickleException {
    if (length < 0 || length > remaining()) {
      throw PickleException.damaged(
          "a value of "
              + Long.toUnsignedString(length)
              + " bytes is announced where "
              + remaining()
              + " are left");
    }
    return length;
  }

  void skip(long length) throws PickleException {
    length(length);
    if (length <= window.remaining()) {
      window.position(window.position() + (int) length);
    } else {
      windowEnd = offset() + length;
      window.position(0).limit(0);
    }
  }

  /**
   * UTF-8 of {@code length} bytes, at most {@link #MAX_TEXT}.
   *
   * @param orLatin1 whether bytes that are not UTF-8 are ISO-8859-1, instead of an error
   */
  String text(int length, boolean orLatin1) throws PickleException, CheckpointException {
    ByteBuffer slice = window(length).slice(window.position(), length);
    window.position(window.position() + length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(slice).toString();
    } catch (CharacterCodingException e) {
      if (orLatin1) {
        return StandardCharsets.ISO_8859_1.decode(slice.rewind()).toString();
      }
      throw PickleException.damaged("there is text that is not UTF-8");
    }
  }

  /** The text before the next newline, which is skipped. */
  String line() throws PickleException, CheckpointException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    while (hasRemaining() && line.size() <= MAX_LINE) {
      int next = unsignedByte();
      if (next == '\n') {
        return line.toString(StandardCharsets.UTF_8);
      }
      line.write(next);
    }
    throw PickleException.damaged("a line of text has no end");
  }

  /** The window with {@code length} bytes in it, which are at most {@link #WINDOW}. */
  private ByteBuffer window(int length) throws PickleException, CheckpointException {
    length(length);
    if (window.remaining() < length) {
      long at = offset();
      window.clear().limit((int) Math.min(WINDOW, end - at));
      file.read(at, window, "the pickle");
      window.flip();
      windowEnd = at + window.limit();
    }
    return window;
  }
}
