package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a well-formed file of before PyTorch 1.6 becomes. */
class PyTorchLegacyTest {
  @TempDir Path folder;

  private static byte[] read(Checkpoint checkpoint, String name) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate((int) checkpoint.tensors().get(name).bytes());
    checkpoint.read(name, 0, buffer);
    return buffer.array();
  }

  private static float[] floats(Checkpoint checkpoint, String name) throws IOException {
    byte[] bytes = read(checkpoint, name);
    float[] values = new float[bytes.length / 4];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  /** Two tensors share a storage, one is transposed; keys are sorted, as texts, and not by use. */
  @Test
  void sharedStoragesAndStrides() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(').text("state_dict").orderedDict();
    pickle.op('(').text("module.a").tensor("FloatStorage", "94", 6, 0, shape(2, 3), shape(3, 1));
    pickle.text("module.t").tensor("FloatStorage", "94", 6, 0, shape(3, 2), shape(1, 3));
    pickle.text("module.tail").tensor("FloatStorage", "94", 6, 4, shape(2), shape(1));
    pickle.text("module.n").tensor("LongStorage", "1234", 1, 0, shape(), shape()).op('u');
    pickle.op('}').text("_metadata").orderedDict().op('s').op('b');
    pickle.text("epoch").integer(7).op('u');
    ByteBuffer n = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(41);
    Path path =
        LegacyFile.of(pickle.stop())
            .keys("1234", "94")
            .storage(1, n.array())
            .floats(1, 2, 3, 4, 5, 6)
            .write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals("PyTorch legacy", checkpoint.format());
      assertEquals(
          List.of(
              "state_dict.module.a",
              "state_dict.module.t",
              "state_dict.module.tail",
              "state_dict.module.n"),
          List.copyOf(checkpoint.tensors().keySet()));
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, floats(checkpoint, "state_dict.module.a"));
      assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, floats(checkpoint, "state_dict.module.t"));
      assertArrayEquals(new float[] {5, 6}, floats(checkpoint, "state_dict.module.tail"));
      assertArrayEquals(n.array(), read(checkpoint, "state_dict.module.n"));
      assertEquals(List.of(), checkpoint.tensors().get("state_dict.module.n").shape());
      assertTrue(checkpoint.region("state_dict.module.t").isEmpty());
      Checkpoint.FileRegion tail = checkpoint.region("state_dict.module.tail").orElseThrow();
      ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(5, file.getFloat((int) tail.offset()));
    }
  }

  /** Storages were views of others before PyTorch 0.4: the tensor's offset counts from the view. */
  @Test
  void viewsOfStorages() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("view").global("torch._utils", "_rebuild_tensor").op('(');
    pickle.view("FloatStorage", "root", 6, "part", 2, 3).integer(1).integers(2).integers(1);
    pickle.op('t').op('R').text("root").floats("root", 6).op('u');
    Path path = LegacyFile.of(pickle.stop()).keys("root").floats(1, 2, 3, 4, 5, 6).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertArrayEquals(new float[] {4, 5}, floats(checkpoint, "view"));
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, floats(checkpoint, "root"));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "DoubleStorage, F64, 8",
    "FloatStorage, F32, 4",
    "HalfStorage, F16, 2",
    "BFloat16Storage, BF16, 2",
    "LongStorage, I64, 8",
    "IntStorage, I32, 4",
    "ShortStorage, I16, 2",
    "CharStorage, I8, 1",
    "ByteStorage, U8, 1",
    "BoolStorage, BOOL, 1",
    "ComplexFloatStorage, C64, 8"
  })
  void everyStorageClassHasItsType(String storage, DType dtype, int width) throws IOException {
    byte[] data = new byte[3 * width];
    for (int i = 0; i < data.length; i++) {
      data[i] = (byte) (i + 1);
    }
    // A second storage is found only if the first has the right width.
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("a").tensor(storage, "0", 3, 1, shape(2), shape(1));
    pickle.text("b").floats("1", 1);
    Path path =
        LegacyFile.of(pickle.op('u').stop())
            .keys("0", "1")
            .storage(3, data)
            .floats(2.5f)
            .write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(dtype, checkpoint.tensors().get("a").dtype());
      assertArrayEquals(Arrays.copyOfRange(data, width, 3 * width), read(checkpoint, "a"));
      assertArrayEquals(new float[] {2.5f}, floats(checkpoint, "b"));
    }
  }

  /** Every text is a byte string, and integers beyond 32 bits are decimal. */
  @Test
  void filesOfPython2() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().global("collections", "OrderedDict");
    pickle.op(']').op(']').python2("conv1.weight").op('a');
    pickle.global("torch._utils", "_rebuild_tensor_v2").op('(').op('(').python2("storage");
    pickle.global("torch.cuda", "FloatStorage").python2("94073286912512").python2("cuda:0");
    pickle.integer(2).op('N').op('t').op('Q').integer(0).integers(2).integers(1).op(0x89);
    pickle.orderedDict().op('t').op('R').op('a').op('a');
    pickle.op(']').python2("seed").op('a');
    pickle.op('I').raw("94073286912512\n".getBytes(StandardCharsets.US_ASCII)).op('a').op('a');
    pickle.op(0x85).op('R');
    PickleBuilder keys = new PickleBuilder().op(']').python2("94073286912512").op('a');
    Path path = LegacyFile.of(pickle.stop()).raw(keys.stop()).floats(3, 4).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(List.of("conv1.weight"), List.copyOf(checkpoint.tensors().keySet()));
      assertArrayEquals(new float[] {3, 4}, floats(checkpoint, "conv1.weight"));
    }
  }

  /** Before PyTorch 0.4 there were no scalars, and an empty tensor had no dimensions. */
  @Test
  void emptyTensors() throws IOException {
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("old").tensor("FloatStorage", "0", 0, 0, shape(), shape());
    pickle.text("new").tensor("HalfStorage", "1", 0, 0, shape(0, 3), shape(3, 1));
    pickle.text("part").tensor("FloatStorage", "2", 1, 5, shape(2, 0), shape(1, 1));
    Path path =
        LegacyFile.of(pickle.op('u').stop())
            .keys("0", "1", "2")
            .floats()
            .storage(0, new byte[0])
            .floats(1)
            .write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(List.of(0L), checkpoint.tensors().get("old").shape());
      assertEquals(List.of(0L, 3L), checkpoint.tensors().get("new").shape());
      assertEquals(List.of(2L, 0L), checkpoint.tensors().get("part").shape());
      for (String name : checkpoint.tensors().keySet()) {
        assertEquals(0, read(checkpoint, name).length);
        assertEquals(0, checkpoint.region(name).orElseThrow().bytes());
      }
    }
  }

  /** Protocol 4 puts frames around pickles; torch.save can be asked for it. */
  @Test
  void framedPickles() throws IOException {
    byte[] magic = java.util.HexFormat.of().parseHex(LegacyFile.MAGIC);
    magic[1] = 4;
    byte[] frame = {(byte) 0x95, 13, 0, 0, 0, 0, 0, 0, 0};
    Path path =
        new LegacyFile()
            .raw(Arrays.copyOf(magic, 2))
            .raw(frame)
            .raw(Arrays.copyOfRange(magic, 2, magic.length))
            .raw(new PickleBuilder().integer(1001).stop())
            .raw(LegacyFile.machine(true))
            .raw(PickleBuilder.legacy().floats("0", 1).stop())
            .keys("0")
            .floats(8)
            .write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertArrayEquals(new float[] {8}, floats(checkpoint, "tensor"));
    }
  }

  /** What else is in the file is none of its business, unless it is another object. */
  @Test
  void bytesAfterTheLastStorage() throws IOException {
    byte[] pickle = PickleBuilder.legacy().floats("0", 1).stop();
    Path path = LegacyFile.of(pickle).keys("0").floats(8).raw(new byte[1000]).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertArrayEquals(new float[] {8}, floats(checkpoint, "tensor"));
    }
    LegacyFile two = LegacyFile.of(pickle).keys("0").floats(8);
    Refusal.of(two.raw(two.bytes()).write(folder), "another object of torch.save");
  }

  /** Storages of 5 GiB that are not read, in a sparse file. */
  @Test
  void largeStorages() throws IOException {
    long count = (5L << 30) / 4;
    PickleBuilder pickle = PickleBuilder.legacy().op('}').op('(');
    pickle.text("big").floats("0", count).text("small").floats("1", 2).op('u');
    LegacyFile head = LegacyFile.of(pickle.stop()).keys("0", "1").int64(count);
    byte[] tail = new LegacyFile().floats(1, 2).bytes();
    Path path = head.write(folder);
    long begin = Files.size(path);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(tail), begin + 4 * count);
      channel.write(ByteBuffer.wrap(new byte[] {0, 0, (byte) 0x80, 0x3f}), begin + 4 * count - 4);
    }
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(begin, checkpoint.region("big").orElseThrow().offset());
      assertEquals(4 * count, checkpoint.region("big").orElseThrow().bytes());
      ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
      checkpoint.read("big", 4 * count - 4, last);
      assertEquals(1, last.getFloat(0));
      assertArrayEquals(new float[] {1, 2}, floats(checkpoint, "small"));
    }
  }
}
