package dev.sinew.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** The bytes of a pickle. Each getter throws if the pickle ends before what it is to return. */
final class PickleInput {
  private static final int MAX_LINE = 1000;

  private final ByteBuffer bytes;

  PickleInput(byte[] pickle) {
    bytes = ByteBuffer.wrap(pickle).order(ByteOrder.LITTLE_ENDIAN);
  }

  int position() {
    return bytes.position();
  }

  boolean hasRemaining() {
    return bytes.hasRemaining();
  }

  int unsignedByte() throws PickleException {
    need(1);
    return bytes.get() & 0xff;
  }

  int unsignedShort() throws PickleException {
    need(2);
    return bytes.getShort() & 0xffff;
  }

  int int32() throws PickleException {
    need(4);
    return bytes.getInt();
  }

  long unsignedInt() throws PickleException {
    return int32() & 0xffffffffL;
  }

  long int64() throws PickleException {
    need(8);
    return bytes.getLong();
  }

  /** A little-endian two's complement integer of 0 to 8 bytes. */
  long integer(int length) throws PickleException {
    need(length);
    long value = 0;
    for (int i = 0; i < length; i++) {
      value |= (bytes.get() & 0xffL) << (8 * i);
    }
    int unused = 64 - 8 * length;
    return length == 0 ? 0 : value << unused >> unused;
  }

  /** Checks that {@code length} bytes follow. */
  int length(long length) throws PickleException {
    need(length);
    return (int) length;
  }

  void skip(int length) throws PickleException {
    need(length);
    bytes.position(bytes.position() + length);
  }

  /** UTF-8 of {@code length} bytes. */
  String text(int length) throws PickleException {
    need(length);
    ByteBuffer slice = bytes.slice(bytes.position(), length);
    skip(length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(slice).toString();
    } catch (CharacterCodingException e) {
      throw PickleException.damaged("there is text that is not UTF-8");
    }
  }

  /** The text before the next newline, which is skipped. */
  String line() throws PickleException {
    int start = bytes.position();
    int end = start;
    while (end < bytes.limit() && end - start <= MAX_LINE && bytes.get(end) != '\n') {
      end++;
    }
    if (end == bytes.limit() || bytes.get(end) != '\n') {
      throw PickleException.damaged("a global's name has no end");
    }
    String line = text(end - start);
    skip(1);
    return line;
  }

  private void need(long length) throws PickleException {
    if (length < 0 || length > bytes.remaining()) {
      throw PickleException.damaged(
          "a value of "
              + Long.toUnsignedString(length)
              + " bytes is announced where "
              + bytes.remaining()
              + " are left");
    }
  }
}
