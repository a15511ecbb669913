package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The directory of a zip archive whose entries are stored, not compressed, so that they are read in
 * place. Archives and entries may be larger than 4 GiB (ZIP64).
 *
 * <p>Follows PKWARE's APPNOTE.TXT 6.3. Nothing the directory says is believed: what is used lies
 * before the directory, and its local header agrees with it. Checksums are not compared, as {@code
 * torch.save} can be told to leave them out. Safe for use by many threads.
 */
final class ZipArchive {
  /**
   * An entry of the directory.
   *
   * @param method 0 is stored
   * @param headerOffset where its local header begins
   */
  record Entry(
      String name, int flags, int method, long compressedSize, long size, long headerOffset) {}

  private static final int END = 0x06054b50;
  private static final int END64 = 0x06064b50;
  private static final int LOCATOR64 = 0x07064b50;
  private static final int CENTRAL = 0x02014b50;
  private static final int LOCAL = 0x04034b50;
  private static final int END_BYTES = 22;
  private static final int END64_BYTES = 56;
  private static final int LOCATOR64_BYTES = 20;
  private static final int CENTRAL_BYTES = 46;
  private static final int LOCAL_BYTES = 30;
  private static final int MAX_COMMENT = 0xffff;
  private static final long MAX_DIRECTORY = 256L << 20;
  private static final int ZIP64_EXTRA = 1;
  private static final long FULL = 0xffffffffL;
  private static final int ENCRYPTED = 1 | 1 << 6 | 1 << 13;
  private static final int SIZES_FOLLOW = 1 << 3;
  private static final int ENTRY_COST = 250;

  private final InputFile file;
  private final HeapBudget budget;
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private long directoryOffset;
  private long directorySize;
  private long entryCount;

  private ZipArchive(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
  }

  /** Whether a file begins with a local entry, or the end record of an empty archive. */
  static boolean recognizes(byte[] start) {
    if (start.length < 4) {
      return false;
    }
    int signature = ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getInt();
    return signature == LOCAL || signature == END;
  }

  /**
   * Reads the directory.
   *
   * @throws CheckpointException if there is none or it contradicts itself or the file
   */
  static ZipArchive open(InputFile file, HeapBudget budget) throws CheckpointException {
    ZipArchive archive = new ZipArchive(file, budget);
    archive.readEnd();
    archive.readDirectory();
    return archive;
  }

  /** The entry of that name, or null. */
  Entry entry(String name) {
    return entries.get(name);
  }

  /** All entries in the order of the directory. */
  Collection<Entry> entries() {
    return Collections.unmodifiableCollection(entries.values());
  }

  /**
   * Where the data of a stored entry begins in the file; it is known to end before the directory.
   *
   * @throws CheckpointException if the entry is compressed or encrypted, larger than {@code limit}
   *     bytes, or its local header is wrong
   */
  long dataOffset(Entry entry, long limit) throws CheckpointException {
    String name = Messages.quote(entry.name());
    if (entry.size() > limit) {
      throw failure(
          "its entry "
              + name
              + " has "
              + entry.size()
              + " bytes (limit: "
              + limit
              + "); save a plain state_dict");
    }
    if ((entry.flags() & ENCRYPTED) != 0) {
      throw failure("its entry " + name + " is encrypted; save the checkpoint without encryption");
    }
    if (entry.method() != 0) {
      throw failure(
          "its entry "
              + name
              + " is compressed; unpack the archive and pack it without compression (zip -0 -r)");
    }
    byte[] raw = entry.name().getBytes(StandardCharsets.ISO_8859_1);
    if (entry.headerOffset() > directoryOffset - LOCAL_BYTES - raw.length) {
      throw damaged("its entry " + name + " lies outside the archive's data");
    }
    ByteBuffer header = read(entry.headerOffset(), LOCAL_BYTES + raw.length);
    int nameLength = header.getShort(26) & 0xffff;
    int extraLength = header.getShort(28) & 0xffff;
    boolean agrees =
        header.getInt(0) == LOCAL
            && (header.getShort(6) & ENCRYPTED) == 0
            && header.getShort(8) == 0
            && nameLength == raw.length
            && header.slice(LOCAL_BYTES, raw.length).equals(ByteBuffer.wrap(raw))
            && localSizeAgrees(header, 18, entry)
            && localSizeAgrees(header, 22, entry);
    if (!agrees) {
      throw damaged("the local header of its entry " + name + " contradicts the directory");
    }
    if (entry.compressedSize() != entry.size()) {
      throw damaged("its entry " + name + " is stored, yet has two sizes");
    }
    long data = entry.headerOffset() + LOCAL_BYTES + nameLength + extraLength;
    if (data > directoryOffset || entry.size() > directoryOffset - data) {
      throw damaged("its entry " + name + " reaches into the archive's directory");
    }
    return data;
  }

  /** A local header may leave sizes to a descriptor after the data, or to its ZIP64 field. */
  private static boolean localSizeAgrees(ByteBuffer header, int at, Entry entry) {
    long size = header.getInt(at) & FULL;
    boolean follows = (header.getShort(6) & SIZES_FOLLOW) != 0;
    return size == entry.size() || size == FULL || (follows && size == 0);
  }

  /**
   * The content of a stored entry.
   *
   * @throws CheckpointException as {@link #dataOffset}
   */
  byte[] content(Entry entry, int limit) throws CheckpointException {
    long offset = dataOffset(entry, limit);
    budget.charge(entry.size());
    byte[] content = new byte[(int) entry.size()];
    file.read(offset, ByteBuffer.wrap(content), "entry " + Messages.quote(entry.name()));
    return content;
  }

  /** Finds the end record, which is the last in the file but for a comment. */
  private void readEnd() throws CheckpointException {
    int tailSize = (int) Math.min(file.size(), END_BYTES + MAX_COMMENT);
    long tailOffset = file.size() - tailSize;
    ByteBuffer tail = read(tailOffset, tailSize);
    int at = tailSize - END_BYTES;
    while (at >= 0
        && !(tail.getInt(at) == END
            && (tail.getShort(at + 20) & 0xffff) == tailSize - at - END_BYTES)) {
      at--;
    }
    if (at < 0) {
      throw failure(
          "it is no complete zip archive; get it again, or if it is an older PyTorch file, load it"
              + " with torch.load and save it again with torch.save");
    }
    int disk = tail.getShort(at + 4) & 0xffff;
    int directoryDisk = tail.getShort(at + 6) & 0xffff;
    int countOnDisk = tail.getShort(at + 8) & 0xffff;
    entryCount = tail.getShort(at + 10) & 0xffff;
    directorySize = tail.getInt(at + 12) & FULL;
    directoryOffset = tail.getInt(at + 16) & FULL;
    long end = tailOffset + at;
    if (end >= LOCATOR64_BYTES) {
      ByteBuffer locator = read(end - LOCATOR64_BYTES, LOCATOR64_BYTES);
      if (locator.getInt(0) == LOCATOR64) {
        readEnd64(locator, end - LOCATOR64_BYTES);
        return;
      }
    }
    if (disk != 0 || directoryDisk != 0 || countOnDisk != entryCount) {
      throw failure("it is one part of a zip archive in many; join the parts first");
    }
    checkDirectory(end);
  }

  private void readEnd64(ByteBuffer locator, long locatorOffset) throws CheckpointException {
    long offset = locator.getLong(8);
    if (locator.getInt(4) != 0 || locator.getInt(16) > 1) {
      throw failure("it is one part of a zip archive in many; join the parts first");
    }
    if (offset < 0 || offset > locatorOffset - END64_BYTES) {
      throw damaged("its ZIP64 end record lies outside the file");
    }
    ByteBuffer end64 = read(offset, END64_BYTES);
    if (end64.getInt(0) != END64) {
      throw damaged("its ZIP64 end record is missing");
    }
    if (end64.getInt(16) != 0 || end64.getInt(20) != 0 || end64.getLong(24) != end64.getLong(32)) {
      throw failure("it is one part of a zip archive in many; join the parts first");
    }
    boolean agrees =
        agrees(entryCount, 0xffff, end64.getLong(32))
            && agrees(directorySize, FULL, end64.getLong(40))
            && agrees(directoryOffset, FULL, end64.getLong(48));
    if (!agrees) {
      throw damaged("its two end records contradict each other");
    }
    entryCount = end64.getLong(32);
    directorySize = end64.getLong(40);
    directoryOffset = end64.getLong(48);
    checkDirectory(offset);
  }

  /** A field of the 32-bit record holds the value, or all ones for "see the 64-bit record". */
  private static boolean agrees(long field, long placeholder, long value) {
    return field == value || field == placeholder;
  }

  private void checkDirectory(long end) throws CheckpointException {
    boolean fits =
        directoryOffset >= 0
            && directorySize >= 0
            && directoryOffset <= end
            && directorySize <= end - directoryOffset;
    if (!fits) {
      throw damaged("its directory lies outside the file");
    }
    if (directorySize > MAX_DIRECTORY) {
      throw failure(
          "its directory has "
              + directorySize
              + " bytes (limit: "
              + MAX_DIRECTORY
              + "); save a plain state_dict");
    }
  }

  private void readDirectory() throws CheckpointException {
    budget.charge(directorySize);
    ByteBuffer directory = read(directoryOffset, (int) directorySize);
    while (directory.hasRemaining()) {
      Entry entry = readEntry(directory);
      budget.charge(ENTRY_COST + 2L * entry.name().length());
      if (entries.put(entry.name(), entry) != null) {
        throw damaged("it has two entries " + Messages.quote(entry.name()));
      }
    }
    if (entries.size() != entryCount) {
      throw damaged(
          "its directory lists " + entries.size() + " entries and announces " + entryCount);
    }
  }

  private Entry readEntry(ByteBuffer directory) throws CheckpointException {
    int at = directory.position();
    if (directory.remaining() < CENTRAL_BYTES || directory.getInt(at) != CENTRAL) {
      throw damaged("its directory ends in the middle of an entry");
    }
    int nameLength = directory.getShort(at + 28) & 0xffff;
    int extraLength = directory.getShort(at + 30) & 0xffff;
    int commentLength = directory.getShort(at + 32) & 0xffff;
    int total = CENTRAL_BYTES + nameLength + extraLength + commentLength;
    if (directory.remaining() < total) {
      throw damaged("its directory ends in the middle of an entry");
    }
    // One char for each byte: names are looked up and compared, and torch's are ASCII.
    byte[] name = new byte[nameLength];
    directory.get(at + CENTRAL_BYTES, name);
    long[] sizes = {
      directory.getInt(at + 24) & FULL, // uncompressed
      directory.getInt(at + 20) & FULL, // compressed
      directory.getInt(at + 42) & FULL // local header offset
    };
    ByteBuffer extra = directory.slice(at + CENTRAL_BYTES + nameLength, extraLength);
    readZip64(extra.order(ByteOrder.LITTLE_ENDIAN), sizes);
    int disk = directory.getShort(at + 34) & 0xffff;
    if (disk != 0 && disk != 0xffff) {
      throw failure("it is one part of a zip archive in many; join the parts first");
    }
    directory.position(at + total);
    return new Entry(
        new String(name, StandardCharsets.ISO_8859_1),
        directory.getShort(at + 8) & 0xffff,
        directory.getShort(at + 10) & 0xffff,
        sizes[1],
        sizes[0],
        sizes[2]);
  }

  /** Replaces the sizes that are all ones by those of the ZIP64 field, in the field's order. */
  private void readZip64(ByteBuffer extra, long[] sizes) throws CheckpointException {
    boolean needed = sizes[0] == FULL || sizes[1] == FULL || sizes[2] == FULL;
    while (needed && extra.remaining() >= 4) {
      int id = extra.getShort() & 0xffff;
      int length = extra.getShort() & 0xffff;
      if (length > extra.remaining()) {
        break;
      }
      if (id != ZIP64_EXTRA) {
        extra.position(extra.position() + length);
        continue;
      }
      int end = extra.position() + length;
      for (int i = 0; i < sizes.length; i++) {
        if (sizes[i] == FULL) {
          if (end - extra.position() < Long.BYTES) {
            throw damaged("an entry of its directory lacks a ZIP64 size");
          }
          sizes[i] = extra.getLong();
          if (sizes[i] < 0) {
            throw damaged("an entry of its directory has a negative size");
          }
        }
      }
      return;
    }
    if (needed) {
      throw damaged("an entry of its directory lacks a ZIP64 size");
    }
  }

  private ByteBuffer read(long offset, int bytes) throws CheckpointException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    file.read(offset, buffer, "the archive directory");
    return buffer.flip();
  }

  private CheckpointException damaged(String what) {
    return failure(what + "; the file is damaged, so get or save it again");
  }

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file.path()) + ": " + what);
  }
}
