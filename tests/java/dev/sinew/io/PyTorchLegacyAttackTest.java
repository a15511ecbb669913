package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of before PyTorch 1.6 that are damaged, lie, or come from elsewhere. */
class PyTorchLegacyAttackTest {
  @TempDir Path folder;

  private static byte[] pickle() {
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("w").floats("0", 4).text("v").tensor("LongStorage", "1", 1, 0, shape(), shape());
    return pickle.op('u').stop();
  }

  private static LegacyFile head() {
    return LegacyFile.of(pickle());
  }

  private static LegacyFile good() {
    return head().keys("0", "1").floats(1, 2, 3, 4).storage(1, new byte[8]);
  }

  private static LegacyFile start(byte[] protocol, byte[] machine) {
    return new LegacyFile()
        .raw(HexFormat.of().parseHex(LegacyFile.MAGIC))
        .raw(protocol)
        .raw(machine);
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = good().bytes();
    Path path = folder.resolve("model.pth");
    for (int length = 10; length < whole.length; length++) {
      Refusal.of(Files.write(path, Arrays.copyOf(whole, length)));
    }
    CheckpointFormat.open(Files.write(path, whole)).close();
  }

  /** One byte anywhere is another: a sentence, or a checkpoint that can be read to its end. */
  @Test
  void noSingleByteDoesHarm() throws IOException {
    byte[] whole = good().bytes();
    Random random = new Random(61);
    Path path = folder.resolve("model.pth");
    int opened = 0;
    for (int at = 15; at < whole.length; at++) {
      byte[] changed = whole.clone();
      changed[at] ^= (byte) (1 << random.nextInt(8));
      Files.write(path, changed);
      try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
        for (var tensor : checkpoint.tensors().values()) {
          checkpoint.read(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
        }
        opened++;
      } catch (dev.sinew.model.CheckpointException e) {
        assertTrue(e.getMessage().contains("'" + path + "'"), e.getMessage());
      }
    }
    assertTrue(opened > 0);
  }

  @Test
  void theMachineMustBeLittleEndian() throws IOException {
    byte[] protocol = new PickleBuilder().integer(1001).stop();
    LegacyFile big = start(protocol, LegacyFile.machine(false)).raw(pickle());
    Refusal.of(big.keys("0", "1").write(folder), "big-endian machine");
    byte[] none = new PickleBuilder().op('N').stop();
    Refusal.of(start(protocol, none).raw(pickle()).write(folder), "NoneType", "machine");
  }

  @Test
  void theProtocolMustBeKnown() throws IOException {
    byte[] machine = LegacyFile.machine(true);
    byte[] next = new PickleBuilder().integer(1002).stop();
    Refusal.of(start(next, machine).raw(pickle()).write(folder), "version 1002 is unknown");
    byte[] text = new PickleBuilder().text("1001").stop();
    Refusal.of(start(text, machine).raw(pickle()).write(folder), "no integer but a str");
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 3, 5, -1, 1L << 61, (1L << 62) + 4, Long.MAX_VALUE, Long.MIN_VALUE})
  void countsThatDisagree(long count) throws IOException {
    byte[] data = new byte[16];
    LegacyFile file = head().keys("0", "1").storage(count, data).storage(1, new byte[8]);
    Refusal.of(file.write(folder));
    // What the object says.
    PickleBuilder lie = PickleBuilder.legacy();
    lie.tensor("FloatStorage", "0", count, 0, shape(1), shape(1));
    Refusal.of(
        LegacyFile.of(lie.stop()).keys("0").floats(1, 2, 3, 4).write(folder),
        "tensor 'tensor'",
        "16 bytes");
  }

  @Test
  void aCountBeyondTheEndNamesTheStorage() throws IOException {
    Refusal.of(
        head().keys("0", "1").storage(5, new byte[16]).write(folder),
        "storage '0' has 5 elements of 4 bytes where 16 bytes are left",
        "truncated");
  }

  /** Two types over one storage are possible; the first says how wide its elements are. */
  @Test
  void twoTypesOfOneStorage() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("w").floats("0", 4).text("v");
    pickle.tensor("LongStorage", "0", 2, 0, shape(2), shape(1)).op('u');
    Path path = LegacyFile.of(pickle.stop()).keys("0").floats(1, 2, 3, 4).write(folder);
    CheckpointFormat.open(path).close();
    PickleBuilder lie = PickleBuilder.legacy().op('}').op('(');
    lie.text("w").floats("0", 4).text("v");
    lie.tensor("LongStorage", "0", 4, 0, shape(4), shape(1)).op('u');
    Refusal.of(LegacyFile.of(lie.stop()).keys("0").floats(1, 2, 3, 4).write(folder), "tensor 'v'");
  }

  @Test
  void keysMustBeThoseOfTheObject() throws IOException {
    byte[] data = new byte[8];
    Refusal.of(head().keys("0").floats(1, 2, 3, 4).write(folder), "'v'", "'1', which is missing");
    Refusal.of(head().keys().write(folder), "'w'", "'0', which is missing");
    Refusal.of(
        head().keys("0", "1", "2").floats(1, 2, 3, 4).storage(1, data).floats(1).write(folder),
        "'2'",
        "nothing refers to");
    Refusal.of(
        head().keys("0", "0", "1").floats(1, 2, 3, 4).floats(1, 2, 3, 4).write(folder),
        "two storages '0'");
    byte[] numbers = new PickleBuilder().op(']').integer(0).op('a').stop();
    Refusal.of(head().raw(numbers).floats(1, 2, 3, 4).write(folder), "'int'");
    byte[] none = new PickleBuilder().op('N').stop();
    Refusal.of(head().raw(none).floats(1, 2, 3, 4).write(folder), "keys", "NoneType");
  }

  @ParameterizedTest
  @CsvSource({
    "5, 2",
    "0, 7",
    "7, 0",
    "-1, 2",
    "2, -1",
    "9223372036854775807, 1",
    "1, 9223372036854775807",
    "-9223372036854775808, 1"
  })
  void viewsOutsideTheirStorage(long offset, long count) throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy();
    pickle.global("torch._utils", "_rebuild_tensor").op('(');
    pickle.view("FloatStorage", "0", 6, "1", offset, count).integer(0).integers(1).integers(1);
    byte[] whole = pickle.op('t').op('R').stop();
    Refusal.of(LegacyFile.of(whole).keys("0").floats(1, 2, 3, 4, 5, 6).write(folder), "a view of");
  }

  @Test
  void tensorsBeyondTheirView() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy();
    pickle.global("torch._utils", "_rebuild_tensor").op('(');
    pickle.view("FloatStorage", "0", 6, "1", 1, 3).integer(1).integers(3).integers(1);
    byte[] whole = pickle.op('t').op('R').stop();
    Refusal.of(
        LegacyFile.of(whole).keys("0").floats(1, 2, 3, 4, 5, 6).write(folder),
        "beyond its storage of 3 elements");
  }

  @Test
  void viewsThatContradictEachOther() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().op('(');
    pickle.view("FloatStorage", "0", 6, "1", 1, 3).view("FloatStorage", "0", 6, "1", 2, 3);
    Refusal.of(LegacyFile.of(pickle.op('t').stop()).write(folder), "'1'", "in two ways");
  }

  @Test
  void persistentIdsAreChecked() throws IOException {
    Refusal.of(LegacyFile.of(new PickleBuilder().text("0").op('Q').stop()).write(folder), "tuple");
    // Of five fields, as in the zip layout.
    Refusal.of(LegacyFile.of(new PickleBuilder().floats("0", 4).stop()).write(folder), "storage");
    PickleBuilder module = new PickleBuilder().op('(').text("module").op('N').text("net.py");
    Refusal.of(
        LegacyFile.of(module.text("class Net").op('N').op('N').op('t').op('Q').stop())
            .write(folder),
        "not that of a storage");
    PickleBuilder key = new PickleBuilder().op('(').text("storage").global("torch", "FloatStorage");
    Refusal.of(
        LegacyFile.of(key.integer(7).text("cpu").integer(1).op('N').op('t').op('Q').stop())
            .write(folder),
        "a key belongs");
    // Outside the object there are none.
    byte[] keys = new PickleBuilder().op(')').op('Q').stop();
    Refusal.of(head().raw(keys).write(folder), "persistent id where none belongs");
  }

  /** A model that was pickled whole: torch wrote its class, the name of its file and its code. */
  @Test
  void wholeModelsAreRefusedByTheirClass() throws IOException {
    PickleBuilder module = PickleBuilder.legacy().op('(').text("module");
    module.global("torchvision.models.resnet", "ResNet").text("resnet.py").text("class ResNet");
    Refusal.of(
        LegacyFile.of(module.op('t').op('Q').op(')').op(0x81).stop()).write(folder),
        "torchvision.models.resnet.ResNet",
        "executes nothing",
        "state_dict");
  }

  @ParameterizedTest
  @CsvSource({"QInt8Storage, qint8", "ComplexDoubleStorage, complex128"})
  void typesThatSinewDoesNotHave(String storage, String type) throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().tensor(storage, "0", 1, 0, shape(1), shape(1));
    Refusal.of(
        LegacyFile.of(pickle.stop()).keys("0").storage(1, new byte[16]).write(folder), storage);
  }

  /** Pickles that nest, share and repeat, in each of their places in the file. */
  @Test
  void bombs() throws IOException {
    PickleBuilder deep = new PickleBuilder();
    for (int i = 0; i < 200_000; i++) {
      deep.op(']');
    }
    for (int i = 1; i < 200_000; i++) {
      deep.op('a');
    }
    byte[] nested = deep.stop();
    Refusal.of(LegacyFile.of(nested).write(folder), "nested");
    byte[] protocol = new PickleBuilder().integer(1001).stop();
    Refusal.of(start(nested, protocol).write(folder), "no integer but a list");
    Refusal.of(start(protocol, nested).write(folder), "holds a list");
    Refusal.of(head().raw(nested).write(folder), "'list'");
    PickleBuilder laughs = PickleBuilder.legacy().floats("0", 4).op('q', 0);
    for (int level = 1; level <= 40; level++) {
      laughs.op('0').op(']').op('q', level).op('(');
      for (int i = 0; i < 10; i++) {
        laughs.op('h', level - 1);
      }
      laughs.op('e');
    }
    Refusal.of(
        LegacyFile.of(laughs.stop()).keys("0").floats(1, 2, 3, 4).write(folder), "Java heap");
    byte[] huge = new PickleBuilder().op('X').int32(-1).bytes();
    Refusal.of(LegacyFile.of(huge).write(folder), "4294967295 bytes is announced");
  }

  @Test
  void overlapsAreBounded() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy();
    pickle.tensor("FloatStorage", "0", 4, 0, shape(1L << 40), shape(0));
    Refusal.of(LegacyFile.of(pickle.stop()).keys("0").floats(1, 2, 3, 4).write(folder), "expand");
  }
}
