package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static dev.sinew.io.TarFile.count;
import static dev.sinew.io.TarFile.floats;
import static dev.sinew.io.TarFile.join;
import static dev.sinew.io.TarFile.storage;
import static dev.sinew.io.TarFile.tensor;
import static dev.sinew.io.TarFile.views;
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
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a well-formed tar archive of the first releases of PyTorch becomes. */
class PyTorchTarTest {
  /** The address of a tensor in memory, by which files referred to it. */
  private static final long ADDRESS = 94_073_286_912_512L;

  @TempDir Path folder;

  private static float[] values(Checkpoint checkpoint, String name) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate((int) checkpoint.tensors().get(name).bytes());
    checkpoint.read(name, 0, buffer);
    float[] values = new float[buffer.capacity() / 4];
    buffer.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  private static PickleBuilder reference(PickleBuilder pickle, String name, long key) {
    return pickle.text(name).text(Long.toString(key)).op('Q');
  }

  /** A dictionary with the tensor 1 as {@code w}. */
  private static byte[] simple() {
    return reference(new PickleBuilder().op('}'), "w", 1).op('s').stop();
  }

  @Test
  void tensorsShareStoragesAndAreViewsOfParts() throws IOException {
    PickleBuilder pickle = new PickleBuilder().orderedDict().op('(');
    reference(pickle, "a", ADDRESS);
    reference(pickle, "t", 2);
    reference(pickle, "part", 3);
    pickle.text("nested").op('}').text("p").global("torch.nn.parameter", "Parameter").op(')');
    pickle.op(0x81).op('(').text("2").op('Q').op('N').op('N').op(0x88).op(0x89).op('t').op('b');
    pickle.op('s').op('u');
    byte[] tensors =
        join(
            count(3),
            tensor(ADDRESS, 10L, "FloatTensor", 0, shape(2, 3), shape(3, 1)),
            tensor(2, 10L, "FloatTensor", 0, shape(3, 2), shape(1, 3)),
            tensor(3, 12L, "FloatTensor", 1, shape(2), shape(1)));
    // Of two storages, so that the second is where the first ends.
    byte[] storages =
        join(
            count(2),
            storage(11, "LongStorage", 1, new byte[8]),
            floats(10, 1, 2, 3, 4, 5, 6),
            views(12, 10, 2, 3));
    Path path = TarFile.of(pickle.stop(), tensors, storages).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals("PyTorch tar", checkpoint.format());
      assertEquals(
          List.of("a", "t", "part", "nested.p"), List.copyOf(checkpoint.tensors().keySet()));
      assertEquals(List.of(2L, 3L), checkpoint.tensors().get("a").shape());
      assertEquals(DType.F32, checkpoint.tensors().get("a").dtype());
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, values(checkpoint, "a"));
      assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, values(checkpoint, "t"));
      assertArrayEquals(new float[] {4, 5}, values(checkpoint, "part"));
      assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, values(checkpoint, "nested.p"));
      ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(4, file.getFloat((int) checkpoint.region("part").orElseThrow().offset()));
      assertTrue(checkpoint.region("t").isEmpty());
    }
  }

  /** Addresses are decimal text in a pickle of Python 2, and sets have other names. */
  @Test
  void filesOfPython2() throws IOException {
    byte[] text = ("\u0080\2I" + ADDRESS + "\n").getBytes(StandardCharsets.ISO_8859_1);
    byte[] storageHead = new PickleBuilder().bytes();
    byte[] tail = new PickleBuilder().python2("cuda:0").global("torch", "FloatStorage").bytes();
    byte[] ofStorage = {(byte) 0x87, '.', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x40, 0, 0, 0, 0};
    assertEquals(2, storageHead.length);
    byte[] storages = join(count(1), text, tail, ofStorage, views());
    byte[] tensorTail = new PickleBuilder().global("torch.cuda", "FloatTensor").bytes();
    byte[] ofTensor = {(byte) 0x87, '.', 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    byte[] strideAndOffset = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    byte[] key = new PickleBuilder().integer(1).bytes();
    byte[] tensors = join(count(1), key, text, tensorTail, ofTensor, strideAndOffset);
    PickleBuilder pickle = new PickleBuilder().op('}').python2("w").python2("1").op('Q').op('s');
    Path path = TarFile.of(pickle.stop(), tensors, storages).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertArrayEquals(new float[] {3, 0}, values(checkpoint, "w"));
    }
  }

  @Test
  void emptyTensorsAndOnesWithoutAStorage() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    reference(pickle, "none", 1);
    reference(pickle, "empty", 2);
    byte[] tensors =
        join(
            count(2),
            tensor(1, null, "DoubleTensor", 0, shape(), shape()),
            tensor(2, 10L, "FloatTensor", 0, shape(), shape()));
    byte[] storages = join(count(1), floats(10), views());
    Path path = TarFile.of(pickle.op('u').stop(), tensors, storages).write(folder);
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(DType.F64, checkpoint.tensors().get("none").dtype());
      assertEquals(List.of(0L), checkpoint.tensors().get("none").shape());
      assertEquals(List.of(0L), checkpoint.tensors().get("empty").shape());
      assertEquals(0, checkpoint.region("none").orElseThrow().bytes());
    }
  }

  private static byte[] tensors() {
    return join(count(1), tensor(1, 10L, "FloatTensor", 0, shape(2), shape(1)));
  }

  private static byte[] storages() {
    return join(count(1), floats(10, 1.5f, 2.5f), views());
  }

  /** Unpacked and packed again by other programs: other orders, folders, names and headers. */
  @Test
  void archivesOfOtherPrograms() throws IOException {
    byte[] gnu = TarFile.header("./storages", '0', size(storages().length), "ustar  ");
    TarFile file =
        new TarFile()
            .entry("./", '5', new byte[0])
            .entry("notes.txt", new byte[1000])
            .raw(gnu)
            .raw(storages())
            .raw(new byte[512 - storages().length])
            .entry("pax_global_header", 'g', "20 comment=whatever\n".getBytes())
            .entry("link", '2', new byte[0])
            .entry("././@LongLink", 'L', "tensors\0".getBytes())
            .entry("cut", tensors())
            .pax("path", "pickle")
            .entry("short", simple());
    for (boolean ended : new boolean[] {false, true}) {
      Path path = Files.write(folder.resolve("model"), ended ? file.ended() : file.bytes());
      try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
        assertArrayEquals(new float[] {1.5f, 2.5f}, values(checkpoint, "w"));
      }
    }
  }

  private static byte[] size(int size) {
    return String.format("%011o", size).getBytes(StandardCharsets.US_ASCII);
  }

  @Test
  void whatFollowsTheEndOfTheArchiveDoesNotMatter() throws IOException {
    TarFile file = TarFile.of(simple(), tensors(), storages());
    byte[] trailing = join(file.ended(), "trailing garbage".getBytes());
    try (Checkpoint checkpoint =
        CheckpointFormat.open(Files.write(folder.resolve("model"), trailing))) {
      assertArrayEquals(new float[] {1.5f, 2.5f}, values(checkpoint, "w"));
    }
  }

  /** More than eleven octal digits hold: in base 256, or in an extended header. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void largeStorages(boolean base256) throws IOException {
    long count = (9L << 30) / 4;
    byte[] head = join(count(1), storage(10, "FloatStorage", count, new byte[0]));
    byte[] tail = views();
    long size = head.length + 4 * count + tail.length;
    TarFile file = new TarFile().entry("pickle", simple()).entry("tensors", largeTensor(count));
    if (base256) {
      byte[] field = ByteBuffer.allocate(12).putInt(0x80000000).putLong(size).array();
      file.raw(TarFile.header("storages", '0', field, "ustar\00000"));
    } else {
      file.pax("size", Long.toString(size)).raw(TarFile.header("storages", '0', "0"));
    }
    file.raw(head);
    Path path = Files.write(folder.resolve("model.tar"), file.bytes());
    long begin = Files.size(path);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      byte[] one = {0, 0, (byte) 0x80, 0x3f};
      channel.write(ByteBuffer.wrap(one), begin + 4 * count - 4);
      channel.write(ByteBuffer.wrap(tail), begin + 4 * count);
    }
    try (Checkpoint checkpoint = CheckpointFormat.open(path)) {
      assertEquals(begin, checkpoint.region("w").orElseThrow().offset());
      ByteBuffer last = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
      checkpoint.read("w", 4 * count - 4, last);
      assertEquals(1, last.getFloat(0));
    }
  }

  private static byte[] largeTensor(long count) {
    return join(count(1), tensor(1, 10L, "FloatTensor", 0, shape(count), shape(1)));
  }
}
