package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Archives that are damaged, lie, or are something else. */
class PyTorchArchiveAttackTest {
  private static final byte[] PICKLE =
      new PickleBuilder().op('}').text("w").floats("0", 4).op('s').stop();

  @TempDir Path folder;

  private static TorchZip good() {
    return TorchZip.of(PICKLE).storage("0", 1, 2, 3, 4);
  }

  private Path write(byte[] bytes) throws IOException {
    return Files.write(folder.resolve("model.pt"), bytes);
  }

  private static ByteBuffer edit(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Where the directory's record of an entry begins. */
  private static int central(byte[] zip, String name) {
    return find(zip, name, 0x02014b50, 46);
  }

  /** Where the local header of an entry begins. */
  private static int local(byte[] zip, String name) {
    return find(zip, name, 0x04034b50, 30);
  }

  private static int find(byte[] zip, String name, int signature, int header) {
    byte[] raw = name.getBytes(StandardCharsets.UTF_8);
    for (int at = 0; at + header + raw.length <= zip.length; at++) {
      if (edit(zip).getInt(at) == signature
          && Arrays.equals(zip, at + header, at + header + raw.length, raw, 0, raw.length)) {
        return at;
      }
    }
    throw new AssertionError("no entry " + name);
  }

  private static void checkReadable(Path path) throws IOException {
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      ByteBuffer data = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
      checkpoint.read("w", 0, data);
      assertEquals(3, data.getFloat(8));
    }
  }

  @Test
  void theFileThatIsAttackedIsGood() throws IOException {
    checkReadable(write(good().bytes()));
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = good().bytes();
    for (int length = 0; length < whole.length; length++) {
      Refusal.of(write(Arrays.copyOf(whole, length)));
    }
  }

  /** Flipped bits may do no harm or be refused; nothing else may happen. */
  @Test
  void flippedBitsAreReadOrRefused() throws IOException {
    byte[] whole = good().bytes();
    for (int bit = 0; bit < whole.length * 8; bit++) {
      byte[] flipped = whole.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      Path path = write(flipped);
      try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
        for (var info : checkpoint.tensors().values()) {
          checkpoint.read(
              info.name(), 0, ByteBuffer.allocate((int) Math.min(info.bytes(), 1 << 20)));
        }
      } catch (CheckpointException e) {
        assertTrue(e.getMessage().contains(path.toString()), e.getMessage());
      }
    }
  }

  @Test
  void pathsThatAreNoFile() throws IOException {
    Refusal.of(folder.resolve("absent.pt"), "does not exist");
    Refusal.of(folder, "is a folder");
    Refusal.of(write(new byte[0]), "zip");
    Refusal.of(write("<html>not found</html>".getBytes(StandardCharsets.UTF_8)), "zip");
  }

  @Test
  void compressedArchives() throws IOException {
    Refusal.of(write(good().bytes(ZipEntry.DEFLATED)), "compressed", "without compression");
    byte[] zip = good().bytes();
    edit(zip).putShort(central(zip, "archive/data/0") + 10, (short) 8);
    Refusal.of(write(zip), "'archive/data/0'", "compressed");
  }

  @ParameterizedTest
  @ValueSource(ints = {0x0001, 0x0040, 0x2000})
  void encryptedEntries(int flag) throws IOException {
    byte[] zip = good().bytes();
    edit(zip).putShort(central(zip, "archive/data/0") + 8, (short) flag);
    Refusal.of(write(zip), "'archive/data/0'", "encrypted");
    byte[] local = good().bytes();
    edit(local).putShort(local(local, "archive/data/0") + 6, (short) flag);
    Refusal.of(write(local), "contradicts");
  }

  @Test
  void duplicateNames() throws IOException {
    byte[] zip = good().storage("1", 5).bytes();
    zip[central(zip, "archive/data/1") + 46 + 13] = '0';
    Refusal.of(write(zip), "two entries 'archive/data/0'");
  }

  @ParameterizedTest
  @CsvSource({
    "0, 1, contradicts", // signature
    "8, 8, contradicts", // method
    "18, 17, contradicts", // sizes
    "22, 17, contradicts",
    "18, 0, contradicts", // zero without the flag that a descriptor follows
    "26, 5, contradicts", // length of the name
    "28, 5000, reaches into", // length of the extra field
    "30, 65, contradicts" // the name
  })
  void localHeadersThatDisagree(int at, int value, String part) throws IOException {
    byte[] zip = good().bytes();
    edit(zip).putShort(local(zip, "archive/data/0") + at, (short) value);
    Refusal.of(write(zip), part);
  }

  @Test
  void sizesOfTheDirectoryThatLie() throws IOException {
    for (int size : new int[] {0, 15, 17, 0x7fffffff, 0xfffffffe}) {
      byte[] zip = good().bytes();
      int at = central(zip, "archive/data/0");
      edit(zip).putInt(at + 24, size);
      Refusal.of(write(zip));
      edit(zip).putInt(at + 20, size);
      Refusal.of(write(zip));
      int local = local(zip, "archive/data/0");
      edit(zip).putInt(local + 18, size).putInt(local + 22, size);
      Refusal.of(write(zip));
    }
  }

  /** The sizes agree everywhere, pickle included, and the data runs into the directory. */
  @Test
  void dataThatReachesIntoTheDirectory() throws IOException {
    byte[] pickle = new PickleBuilder().op('}').text("w").floats("0", 30).op('s').stop();
    byte[] zip = TorchZip.of(pickle).storage("0", 1, 2, 3, 4).bytes();
    int central = central(zip, "archive/data/0");
    int local = local(zip, "archive/data/0");
    edit(zip).putInt(central + 20, 120).putInt(central + 24, 120);
    edit(zip).putInt(local + 18, 120).putInt(local + 22, 120);
    Refusal.of(write(zip), "reaches into the archive's directory");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 100_000, 0x7fffffff, 0xfffffffe})
  void headerOffsetsThatLie(int offset) throws IOException {
    byte[] zip = good().bytes();
    edit(zip).putInt(central(zip, "archive/data/0") + 42, offset);
    Refusal.of(write(zip));
  }

  @Test
  void aSizeThatIsMissingFromTheZip64Field() throws IOException {
    byte[] zip = good().bytes();
    edit(zip).putInt(central(zip, "archive/data/0") + 24, -1);
    Refusal.of(write(zip), "ZIP64");
  }

  /** One local header and data inside the data of another. */
  @Test
  void entriesOnTopOfEachOther() throws IOException {
    Path path = folder.resolve("model.pt");
    byte[] pickle =
        new PickleBuilder()
            .op('}')
            .op('(')
            .text("a")
            .floats("0", 100)
            .text("b")
            .floats("1", 10)
            .op('u')
            .stop();
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", pickle);
      zip.sparseEntry("archive/data/0", 400);
      zip.sparseEntry("archive/data/1", 40);
    }
    PyTorchCheckpoint.open(path).close();
    byte[] bytes = Files.readAllBytes(path);
    int outer = local(bytes, "archive/data/0");
    int inner = local(bytes, "archive/data/1");
    System.arraycopy(bytes, inner, bytes, outer + 100, 30 + 14);
    int record = central(bytes, "archive/data/1");
    edit(bytes).putLong(record + 46 + 14 + 4 + 16, outer + 100);
    Refusal.of(write(bytes), "'archive/data/1'", "overlaps");
  }

  @ParameterizedTest
  @CsvSource({
    "4, 1",
    "6, 1",
    "8, 7", // numbers of disks
    "10, 4",
    "10, 0", // counts
    "12, 10",
    "12, 2147483647",
    "12, -2", // the directory's size
    "16, 10",
    "16, 2147483647",
    "16, -2", // and offset
    "20, 1" // the comment's length
  })
  void endRecordsThatLie(int at, int value) throws IOException {
    byte[] zip = good().bytes();
    ByteBuffer end = edit(zip);
    int record = zip.length - 22;
    if (at < 12 || at == 20) {
      end.putShort(record + at, (short) value);
    } else {
      end.putInt(record + at, value);
    }
    Refusal.of(write(zip));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2, 4, 65534})
  void entryCountsThatLie(int count) throws IOException {
    byte[] zip = good().bytes();
    int record = zip.length - 22;
    edit(zip).putShort(record + 8, (short) count).putShort(record + 10, (short) count);
    Refusal.of(write(zip), "lists 3 entries and announces " + count);
  }

  @Test
  void aCommentIsPassedOver() throws IOException {
    byte[] zip = Arrays.copyOf(good().bytes(), good().bytes().length + 300);
    edit(zip).putShort(zip.length - 300 - 2, (short) 300);
    checkReadable(write(zip));
  }

  @ParameterizedTest
  @CsvSource({
    "16, 1",
    "20, 1",
    "24, 9",
    "32, 9",
    "40, 9223372036854775807",
    "40, -1",
    "48, 9223372036854775807",
    "48, -1",
    "0, 0"
  })
  void zip64EndRecordsThatLie(int at, long value) throws IOException {
    Path path = folder.resolve("model.pt");
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", PICKLE);
      zip.sparseEntry("archive/data/0", 16);
    }
    byte[] bytes = Files.readAllBytes(path);
    PyTorchCheckpoint.open(path).close();
    int record = bytes.length - 22 - 20 - 56;
    if (at < 24) {
      edit(bytes).putInt(record + at, (int) value);
    } else {
      edit(bytes).putLong(record + at, value);
    }
    Refusal.of(write(bytes));
  }

  @ParameterizedTest
  @CsvSource({"10, 3", "12, 1000", "16, 1000"})
  void endRecordsThatContradictEachOther(int at, int value) throws IOException {
    Path path = folder.resolve("model.pt");
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", PICKLE);
      zip.sparseEntry("archive/data/0", 16);
    }
    byte[] bytes = Files.readAllBytes(path);
    if (at == 10) {
      edit(bytes).putShort(bytes.length - 22 + at, (short) value);
    } else {
      edit(bytes).putInt(bytes.length - 22 + at, value);
    }
    Refusal.of(write(bytes), "contradict each other");
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, Long.MAX_VALUE, 0, Long.MIN_VALUE})
  void zip64LocatorsThatLie(long value) throws IOException {
    Path path = folder.resolve("model.pt");
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", PICKLE);
      zip.sparseEntry("archive/data/0", 16);
    }
    byte[] bytes = Files.readAllBytes(path);
    edit(bytes).putLong(bytes.length - 22 - 20 + 8, value);
    Refusal.of(write(bytes), "ZIP64");
  }

  /** Stored in place: 6 GiB of archive, of which a few KiB are read. */
  @Test
  void archivesBeyond4GiB() throws IOException {
    Path path = folder.resolve("model.pt");
    byte[] pickle =
        new PickleBuilder()
            .op('}')
            .op('(')
            .text("big")
            .floats("0", 5L << 28)
            .text("last")
            .floats("1", 2)
            .op('u')
            .stop();
    byte[] last = {1, 2, 3, 4, 5, 6, 7, 8};
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", pickle);
      long data = zip.sparseEntry("archive/data/0", 5L << 30);
      zip.put(data + (5L << 30) - 4, new byte[] {9, 9, 9, 9});
      zip.entry("archive/data/1", last);
    }
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      ByteBuffer two = ByteBuffer.allocate(8);
      checkpoint.read("last", 0, two);
      assertArrayEquals(last, two.array());
      checkpoint.read("big", (5L << 30) - 8, two.clear());
      assertArrayEquals(new byte[] {0, 0, 0, 0, 9, 9, 9, 9}, two.array());
    }
  }

  @Test
  void aPickleThatIsTooLarge() throws IOException {
    Path path = folder.resolve("model.pt");
    try (RawZip zip = new RawZip(path)) {
      zip.sparseEntry("archive/data.pkl", (256L << 20) + 1);
    }
    Refusal.of(path, "limit: 268435456");
  }

  @Test
  void byteOrders() throws IOException {
    Refusal.of(write(good().entry("archive/byteorder", "big").bytes()), "big-endian");
    Refusal.of(write(good().entry("archive/byteorder", "middle\n\u001b").bytes()), "'middle");
    Refusal.of(write(good().entry("archive/byteorder", "x".repeat(65)).bytes()), "limit");
    checkReadable(write(good().without("archive/byteorder").bytes()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"archive/constants.pkl", "archive/code/__torch__.py"})
  void torchScript(String entry) throws IOException {
    Refusal.of(
        write(good().entry(entry, "x").bytes()), "TorchScript", "torch.jit.load", "state_dict()");
  }

  @Test
  void otherArchives() throws IOException {
    Refusal.of(write(TorchZip.empty().entry("a.txt", "x").bytes()), "without a data.pkl");
    Refusal.of(write(TorchZip.empty().bytes()), "without a data.pkl");
    Refusal.of(write(TorchZip.empty().entry("data.pkl", PICKLE).bytes()), "without a data.pkl");
    Refusal.of(write(TorchZip.empty().entry("a/b/data.pkl", PICKLE).bytes()), "data.pkl");
    Refusal.of(
        write(good().entry("other/data.pkl", PICKLE).bytes()),
        "'archive/data.pkl'",
        "'other/data.pkl'");
  }

  @Test
  void anyRootFolderWillDo() throws IOException {
    byte[] storage = new byte[16];
    storage[10] = 0x40;
    storage[11] = 0x40; // 3.0f
    checkReadable(
        write(
            TorchZip.empty()
                .entry("my model.v2/data.pkl", PICKLE)
                .entry("my model.v2/data/0", storage)
                .bytes()));
  }

  @Test
  void noise() throws IOException {
    Random random = new Random(61);
    byte[] whole = good().bytes();
    for (int i = 0; i < 300; i++) {
      byte[] noisy = whole.clone();
      for (int k = 0; k < 4; k++) {
        noisy[random.nextInt(noisy.length)] = (byte) random.nextInt(256);
      }
      try {
        PyTorchCheckpoint.open(write(noisy)).close();
      } catch (CheckpointException e) {
        assertFalse(e.getMessage().isEmpty());
      }
    }
  }
}
