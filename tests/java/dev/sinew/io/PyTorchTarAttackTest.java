package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static dev.sinew.io.TarFile.count;
import static dev.sinew.io.TarFile.floats;
import static dev.sinew.io.TarFile.header;
import static dev.sinew.io.TarFile.join;
import static dev.sinew.io.TarFile.storage;
import static dev.sinew.io.TarFile.tensor;
import static dev.sinew.io.TarFile.views;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tar archives that are damaged, lie, or hold something else. */
class PyTorchTarAttackTest {
  private static final byte[] PICKLE =
      new PickleBuilder().op('}').text("w").text("1").op('Q').op('s').stop();
  private static final byte[] TENSOR = tensor(1, 10L, "FloatTensor", 0, shape(2), shape(1));
  private static final byte[] TENSORS = join(count(1), TENSOR);
  private static final byte[] STORAGES = join(count(1), floats(10, 1, 2), views());

  @TempDir Path folder;

  private static TarFile good() {
    return TarFile.of(PICKLE, TENSORS, STORAGES);
  }

  private void refuse(byte[] pickle, byte[] tensors, byte[] storages, String... says)
      throws IOException {
    Refusal.of(TarFile.of(pickle, tensors, storages).write(folder), says);
  }

  // The archive.

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = good().bytes();
    Path path = folder.resolve("model.tar");
    // The padding of the last entry, where it is cut without harm.
    int padding = (512 - STORAGES.length % 512) % 512;
    for (int length = 300; length < whole.length - padding; length += length % 512 < 8 ? 1 : 7) {
      Refusal.of(Files.write(path, Arrays.copyOf(whole, length)));
    }
    CheckpointFormat.open(Files.write(path, Arrays.copyOf(whole, whole.length - padding))).close();
  }

  @Test
  void noSingleByteDoesHarm() throws IOException {
    byte[] whole = good().ended();
    Random random = new Random(62);
    Path path = folder.resolve("model.tar");
    int opened = 0;
    for (int i = 0; i < 3000; i++) {
      byte[] changed = whole.clone();
      changed[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
      Files.write(path, changed);
      try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
        for (var tensor : checkpoint.tensors().values()) {
          checkpoint.read(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
        }
        opened++;
      } catch (CheckpointException e) {
        assertTrue(e.getMessage().contains("'" + path + "'"), e.getMessage());
      }
    }
    assertTrue(opened > 0);
  }

  @Test
  void aWrongChecksum() throws IOException {
    byte[] whole = good().ended();
    whole[0] ^= 1;
    Refusal.of(Files.write(folder.resolve("model"), whole), "checksum", "at byte 0", "damaged");
    byte[] second = good().ended();
    second[1024] ^= 1;
    Refusal.of(Files.write(folder.resolve("model"), second), "checksum", "at byte 1024");
    byte[] none = good().ended();
    Arrays.fill(none, 1024 + 148, 1024 + 156, (byte) 0);
    Refusal.of(Files.write(folder.resolve("model"), none), "checksum");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "00000002000",
        "77777777777",
        "99999999999",
        "-0000000001",
        "0x000000010",
        "1 2 3 4 5 6"
      })
  void sizesThatLie(String size) throws IOException {
    TarFile file = new TarFile().entry("pickle", PICKLE).raw(header("tensors", '0', size));
    Refusal.of(file.raw(TENSORS).write(folder), "damaged");
  }

  @Test
  void sizesInBase256() throws IOException {
    byte[][] sizes = new byte[3][12];
    Arrays.fill(sizes[0], (byte) 0xff); // -1
    Arrays.fill(sizes[1], (byte) 0x7f);
    sizes[1][0] = (byte) 0x80; // beyond 64 bits
    sizes[2][0] = (byte) 0x80;
    sizes[2][4] = 0x7f; // all of 63 bits
    for (byte[] size : sizes) {
      byte[] header = TarFile.header("tensors", '0', size, "ustar\00000");
      Refusal.of(new TarFile().entry("pickle", PICKLE).raw(header).write(folder), "damaged");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"-1", "9223372036854775807", "99999999999999999999", "", "1x"})
  void sizesInExtendedHeaders(String size) throws IOException {
    TarFile file = new TarFile().entry("pickle", PICKLE).pax("size", size);
    Refusal.of(file.entry("tensors", TENSORS).write(folder), "damaged");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "5 a=b\n",
        "99 path=x\n",
        "0 path=x\n",
        "999999999999999999999 path=x\n",
        "path=x\n",
        "10 path=xyz",
        "3 \n",
        "2 "
      })
  void recordsThatDoNotFit(String records) throws IOException {
    TarFile file = new TarFile().entry("pickle", PICKLE);
    byte[] content = records.getBytes(StandardCharsets.US_ASCII);
    Refusal.of(file.entry("x", 'x', content).entry("y", TENSORS).write(folder), "records");
  }

  @Test
  void extendedHeadersAreBounded() throws IOException {
    TarFile file = new TarFile().entry("pickle", PICKLE);
    file.entry("x", 'L', new byte[(1 << 20) + 1]);
    Refusal.of(file.write(folder), "extended tar header of 1048577 bytes");
    TarFile many = new TarFile().entry("pickle", PICKLE);
    for (int i = 0; i < 10_001; i++) {
      many.raw(header("x", 'L', "0"));
    }
    Refusal.of(many.write(folder), "more than 10000 headers");
  }

  @ParameterizedTest
  @ValueSource(chars = {'1', '2', '3', '4', '5', '6'})
  void entriesThatAreNoFiles(char type) throws IOException {
    TarFile file = new TarFile().entry("pickle", PICKLE).entry("storages", STORAGES);
    file.raw(header("tensors", type, "0")).raw(TENSORS);
    Refusal.of(file.write(folder));
    TarFile folderEntry = new TarFile().entry("pickle", PICKLE).entry("storages", STORAGES);
    Refusal.of(folderEntry.raw(header("tensors", type, "0")).write(folder), "'tensors' is no file");
  }

  @Test
  void sparseEntries() throws IOException {
    TarFile old = new TarFile().entry("pickle", PICKLE).entry("tensors", 'S', TENSORS);
    Refusal.of(old.write(folder), "'tensors' is stored as a sparse file", "--sparse");
    TarFile pax = new TarFile().entry("pickle", PICKLE).pax("GNU.sparse.major", "1");
    Refusal.of(pax.entry("tensors", TENSORS).write(folder), "sparse file");
  }

  @Test
  void missingAndRepeatedEntries() throws IOException {
    for (String missing : new String[] {"pickle", "tensors", "storages"}) {
      TarFile file = new TarFile().entry("sys_info", LegacyFile.machine(true));
      for (String name : new String[] {"pickle", "tensors", "storages"}) {
        if (!name.equals(missing)) {
          byte[] content =
              name.equals("pickle") ? PICKLE : name.equals("tensors") ? TENSORS : STORAGES;
          file.entry(name, content);
        }
      }
      Refusal.of(file.write(folder), "without an entry '" + missing + "'");
    }
    Refusal.of(good().entry("./tensors", TENSORS).write(folder), "two entries 'tensors'");
  }

  /** Nothing is unpacked, so a name that would lead out of a folder is a name like others. */
  @Test
  void namesThatLeadElsewhere() throws IOException {
    TarFile file = new TarFile().entry("../../outside", new byte[600]).entry("/etc/x", PICKLE);
    file.entry("pickle", PICKLE).entry("tensors", TENSORS).entry("storages", STORAGES);
    CheckpointFormat.open(file.write(folder)).close();
    Refusal.of(new TarFile().entry("../pickle", PICKLE).write(folder), "without an entry");
    assertFalse(Files.exists(folder.resolve("../../outside")));
  }

  @Test
  void theMachineMustBeLittleEndian() throws IOException {
    TarFile file = new TarFile().entry("sys_info", LegacyFile.machine(false));
    Refusal.of(file.entry("pickle", PICKLE).write(folder), "big-endian machine");
  }

  // The storages.

  @ParameterizedTest
  @ValueSource(longs = {0, 2, 3, -1, Long.MAX_VALUE, Long.MIN_VALUE})
  void wrongCountsOfStorages(long count) throws IOException {
    refuse(PICKLE, TENSORS, join(count(count), floats(10, 1, 2), views()), "'storages'");
  }

  @Test
  void countsThatAreNoNumbers() throws IOException {
    byte[] text = new PickleBuilder().text("1").stop();
    byte[] long9 = new PickleBuilder().op(0x8a, 9).raw(new byte[9]).stop();
    for (byte[] count : new byte[][] {text, long9}) {
      refuse(PICKLE, TENSORS, join(count, floats(10, 1, 2), views()), "no count");
      refuse(PICKLE, join(count, TENSOR), STORAGES, "no count");
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {3, 1L << 61, (1L << 62) + 2, -1, Long.MAX_VALUE, Long.MIN_VALUE})
  void wrongCountsOfElements(long elements) throws IOException {
    byte[] lie = storage(10, "FloatStorage", elements, new byte[8]);
    refuse(PICKLE, TENSORS, join(count(1), lie, views()));
  }

  @Test
  void storagesThatAreNot() throws IOException {
    byte[] lie = storage(10, "FloatTensor", 2, new byte[8]);
    refuse(PICKLE, TENSORS, join(count(1), lie, views()), "a storage class");
    lie = storage(10, "QInt8Storage", 8, new byte[8]);
    refuse(PICKLE, TENSORS, join(count(1), lie, views()), "torch.QInt8Storage");
    lie = new PickleBuilder().integers(1, 2).stop();
    refuse(PICKLE, TENSORS, join(count(1), lie, views()), "no tuple of 3");
    refuse(
        PICKLE,
        TENSORS,
        join(count(2), floats(10, 1, 2), floats(10, 1, 2), views()),
        "two objects have the key 10");
    refuse(PICKLE, TENSORS, join(count(1), floats(10, 1, 2)), "'storages'", "truncated");
    refuse(PICKLE, TENSORS, join(STORAGES, new byte[1]), "more than its counts announce");
  }

  @ParameterizedTest
  @CsvSource({
    "11, 10, 1, 2, outside",
    "11, 10, 3, 0, outside",
    "11, 10, -1, 1, outside",
    "11, 10, 0, -1, outside",
    "11, 10, 9223372036854775807, 9223372036854775807, outside",
    "11, 9, 0, 1, storage 9",
    "11, 11, 0, 1, storage 11",
    "10, 10, 0, 1, two objects"
  })
  void viewsThatLie(long key, long root, long offset, long size, String says) throws IOException {
    byte[] lie = views(key, root, offset, size);
    refuse(PICKLE, TENSORS, join(count(1), floats(10, 1, 2), lie), says);
  }

  @Test
  void viewsThatAreNone() throws IOException {
    byte[] none = new PickleBuilder().op('N').stop();
    refuse(PICKLE, TENSORS, join(count(1), floats(10, 1, 2), none), "no list");
    byte[] three = new PickleBuilder().op(']').integers(11, 10, 0).op('a').stop();
    refuse(PICKLE, TENSORS, join(count(1), floats(10, 1, 2), three), "no tuple of 4");
  }

  // The tensors.

  @ParameterizedTest
  @ValueSource(longs = {0, 2, -1, Long.MAX_VALUE})
  void wrongCountsOfTensors(long count) throws IOException {
    refuse(PICKLE, join(count(count), TENSOR), STORAGES, "'tensors'");
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 65, 2, 3, Integer.MAX_VALUE, Integer.MIN_VALUE})
  void wrongRanks(int rank) throws IOException {
    byte[] tensors = TENSORS.clone();
    int at = tensors.length - 32;
    ByteBuffer.wrap(tensors).order(java.nio.ByteOrder.LITTLE_ENDIAN).putInt(at, rank);
    refuse(PICKLE, tensors, STORAGES, "'tensors'");
  }

  @Test
  void tensorsBeyondTheirStorage() throws IOException {
    Object[][] views = {
      {0L, shape(3), shape(1)},
      {1L, shape(2), shape(1)},
      {-1L, shape(1), shape(1)},
      {0L, shape(-1), shape(1)},
      {1L, shape(2), shape(-1)},
      {0L, shape(1L << 32, 1L << 32), shape(0, 0)},
      {0L, shape(3, 3), shape(Long.MAX_VALUE / 2, Long.MAX_VALUE / 2)},
      {2L, shape(), shape()},
    };
    for (Object[] v : views) {
      byte[] lie = tensor(1, 10L, "FloatTensor", (long) v[0], (long[]) v[1], (long[]) v[2]);
      refuse(PICKLE, join(count(1), lie), STORAGES, "tensor 'w'");
    }
    byte[] without = tensor(1, null, "FloatTensor", 0, shape(2), shape(1));
    refuse(PICKLE, join(count(1), without), STORAGES, "beyond its storage of 0");
  }

  @Test
  void tensorsThatAreNot() throws IOException {
    byte[] missing = tensor(1, 9L, "FloatTensor", 0, shape(2), shape(1));
    refuse(PICKLE, join(count(1), missing), STORAGES, "storage 9, which is missing");
    byte[] other = tensor(1, 10L, "DoubleTensor", 0, shape(1), shape(1));
    refuse(PICKLE, join(count(1), other), STORAGES, "torch.DoubleTensor has a torch.FloatStorage");
    byte[] storage = tensor(1, 10L, "FloatStorage", 0, shape(1), shape(1));
    refuse(PICKLE, join(count(1), storage), STORAGES, "a tensor class");
    byte[] clash = tensor(10, 10L, "FloatTensor", 0, shape(1), shape(1));
    refuse(PICKLE, join(count(1), clash), STORAGES, "two objects have the key 10");
  }

  // The object.

  @ParameterizedTest
  @ValueSource(strings = {"2", "", "one", "0x1", "99999999999999999999999", "-1"})
  void referencesToNothing(String id) throws IOException {
    byte[] pickle = new PickleBuilder().op('}').text("w").text(id).op('Q').op('s').stop();
    refuse(pickle, TENSORS, STORAGES, "'" + id + "', which is missing");
  }

  @Test
  void referencesThatAreNone() throws IOException {
    byte[] tuple = new PickleBuilder().op(')').op('Q').stop();
    refuse(tuple, TENSORS, STORAGES, "'tuple', which is missing");
    byte[] storage = new PickleBuilder().text("10").op('Q').stop();
    refuse(storage, TENSORS, STORAGES, "no tensors but a torch.FloatStorage");
  }

  @Test
  void wholeModelsAreRefusedByTheirClass() throws IOException {
    byte[] model =
        new PickleBuilder()
            .global("torch.nn.modules.container", "Sequential")
            .op(')')
            .op('R')
            .stop();
    refuse(model, TENSORS, STORAGES, "torch.nn.modules.container.Sequential", "'pickle'");
  }

  @Test
  void bombs() throws IOException {
    PickleBuilder deep = new PickleBuilder();
    for (int i = 0; i < 100_000; i++) {
      deep.op(')').op('(');
    }
    byte[] marks = deep.stop();
    refuse(marks, TENSORS, STORAGES, "'pickle'");
    refuse(PICKLE, marks, STORAGES, "'tensors'");
    refuse(PICKLE, TENSORS, marks, "'storages'");
  }
}
