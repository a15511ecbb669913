package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a well-formed file becomes: names, types, shapes and bytes. */
class PyTorchCheckpointTest {
  @TempDir Path folder;

  private PyTorchCheckpoint open(TorchZip zip) throws IOException {
    return PyTorchCheckpoint.open(zip.write(folder));
  }

  private static float[] floats(Checkpoint checkpoint, String name) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate((int) checkpoint.tensors().get(name).bytes());
    checkpoint.read(name, 0, buffer);
    float[] values = new float[buffer.capacity() / 4];
    buffer.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  @Test
  void describesItself() throws IOException {
    try (PyTorchCheckpoint checkpoint =
        open(TorchZip.of(new PickleBuilder().floats("0", 1).stop()).storage("0", 1))) {
      assertEquals(folder.resolve("model.pt"), checkpoint.path());
      assertEquals("PyTorch zip", checkpoint.format());
      assertTrue(checkpoint.metadata().isEmpty());
      assertEquals(List.of("tensor"), List.copyOf(checkpoint.tensors().keySet()));
      assertThrows(UnsupportedOperationException.class, () -> checkpoint.tensors().clear());
    }
  }

  @Test
  void nestedContainersBecomeDottedNamesInFileOrder() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("state_dict").orderedDict().op('(');
    pickle.text("module.b.weight").floats("0", 2);
    pickle.text("a.bias").floats("1", 1);
    pickle.op('u');
    pickle.text("epoch").integer(7);
    pickle.text("name").text("resnet");
    pickle.text("nothing").op('N');
    pickle.text("optimizer").op('}').op('(');
    pickle.integer(0).op(']').op('(').floats("1", 1).floats("0", 2).op('e');
    pickle.integer(123456789012L).floats("2", 1).op(0x85);
    pickle.integer(-1).floats("2", 1);
    pickle.op('u');
    pickle.op('u');
    TorchZip zip = TorchZip.of(pickle.stop()).storage("0", 1, 2).storage("1", 3).storage("2", 4);
    try (Checkpoint checkpoint = open(zip)) {
      assertEquals(
          List.of(
              "state_dict.module.b.weight",
              "state_dict.a.bias",
              "optimizer.0.0",
              "optimizer.0.1",
              "optimizer.123456789012.0",
              "optimizer.-1"),
          List.copyOf(checkpoint.tensors().keySet()));
      assertArrayEquals(new float[] {1, 2}, floats(checkpoint, "state_dict.module.b.weight"));
      assertArrayEquals(new float[] {3}, floats(checkpoint, "state_dict.a.bias"));
      assertArrayEquals(new float[] {1, 2}, floats(checkpoint, "optimizer.0.1"));
      assertArrayEquals(new float[] {4}, floats(checkpoint, "optimizer.-1"));
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
    "ComplexFloatStorage, C64, 8",
    "UntypedStorage, U8, 1"
  })
  void everyStorageClassHasItsType(String storage, DType dtype, int width) throws IOException {
    byte[] data = new byte[3 * width];
    for (int i = 0; i < data.length; i++) {
      data[i] = (byte) (i + 1);
    }
    byte[] pickle = new PickleBuilder().tensor(storage, "k", 3, 1, shape(2), shape(1)).stop();
    try (Checkpoint checkpoint = open(TorchZip.of(pickle).storage("k", data))) {
      assertEquals(dtype, checkpoint.tensors().get("tensor").dtype());
      ByteBuffer read = ByteBuffer.allocate(2 * width);
      checkpoint.read("tensor", 0, read);
      assertArrayEquals(Arrays.copyOfRange(data, width, 3 * width), read.array());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "uint16, U16, 2",
    "uint32, U32, 4",
    "uint64, U64, 8",
    "float8_e4m3fn, F8_E4M3, 1",
    "float8_e5m2, F8_E5M2, 1",
    "float8_e8m0fnu, F8_E8M0, 1",
    "float8_e4m3fnuz, F8_E4M3FNUZ, 1",
    "float8_e5m2fnuz, F8_E5M2FNUZ, 1"
  })
  void newTypesComeOverUntypedStorages(String torch, DType dtype, int width) throws IOException {
    byte[] data = new byte[6 * width];
    data[2 * width] = 42;
    PickleBuilder pickle = new PickleBuilder();
    pickle.global("torch._utils", "_rebuild_tensor_v3").op('(');
    pickle.op('(').text("storage").global("torch.storage", "UntypedStorage").text("0").text("cpu");
    pickle.integer(data.length).op('t').op('Q');
    pickle.integer(2).integers(2, 2).integers(2, 1).op(0x89).orderedDict();
    pickle.global("torch", torch).op('t').op('R');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.stop()).storage("0", data))) {
      assertEquals(dtype, checkpoint.tensors().get("tensor").dtype());
      assertEquals(List.of(2L, 2L), checkpoint.tensors().get("tensor").shape());
      ByteBuffer read = ByteBuffer.allocate(4 * width);
      checkpoint.read("tensor", 0, read);
      assertEquals(42, read.get(0));
    }
  }

  @Test
  void scalarsEmptyTensorsAndRank64() throws IOException {
    long[] ones = new long[64];
    Arrays.fill(ones, 1);
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("scalar").tensor("FloatStorage", "0", 2, 1, shape(), shape());
    pickle.text("empty").tensor("FloatStorage", "1", 0, 0, shape(0), shape(1));
    pickle.text("empty3d").tensor("FloatStorage", "0", 2, 7, shape(3, 0, 5), shape(5, 5, 1));
    pickle.text("deep").tensor("FloatStorage", "0", 2, 0, ones, ones);
    TorchZip zip = TorchZip.of(pickle.op('u').stop()).storage("0", 5, 6).storage("1");
    try (Checkpoint checkpoint = open(zip)) {
      assertEquals(List.of(), checkpoint.tensors().get("scalar").shape());
      assertArrayEquals(new float[] {6}, floats(checkpoint, "scalar"));
      assertEquals(List.of(0L), checkpoint.tensors().get("empty").shape());
      assertArrayEquals(new float[0], floats(checkpoint, "empty"));
      assertEquals(List.of(3L, 0L, 5L), checkpoint.tensors().get("empty3d").shape());
      assertEquals(0, checkpoint.region("empty3d").orElseThrow().bytes());
      assertEquals(64, checkpoint.tensors().get("deep").shape().size());
      assertArrayEquals(new float[] {5}, floats(checkpoint, "deep"));
    }
  }

  @Test
  void parametersAndSubclassesAreTheirTensors() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("p").global("torch._utils", "_rebuild_parameter").op('(').floats("0", 1);
    pickle.op(0x88).orderedDict().op('t').op('R');
    pickle.text("s").global("torch._utils", "_rebuild_parameter_with_state").op('(');
    pickle.floats("0", 1).op(0x88).orderedDict().op('}').op('t').op('R');
    pickle.text("n").global("torch.nn.parameter", "Parameter").floats("0", 1).op(0x85).op(0x81);
    pickle.text("t").global("torch._tensor", "_rebuild_from_type_v2").op('(');
    pickle.global("torch._utils", "_rebuild_tensor_v2").global("torch.nn.parameter", "Parameter");
    pickle.op('(').storage("FloatStorage", "0", 1).integer(0).integers(1).integers(1).op(0x89);
    pickle.orderedDict().op('t').op('}').op('t').op('R');
    pickle.text("v1").global("torch._utils", "_rebuild_tensor").op('(');
    pickle.storage("FloatStorage", "0", 1).integer(0).integers(1).integers(1).op('t').op('R');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.op('u').stop()).storage("0", 2.5f))) {
      assertEquals(List.of("p", "s", "n", "t", "v1"), List.copyOf(checkpoint.tensors().keySet()));
      for (String name : checkpoint.tensors().keySet()) {
        assertArrayEquals(new float[] {2.5f}, floats(checkpoint, name), name);
      }
    }
  }

  @Test
  void otherValuesOfTheAllowListArePassedOver() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("size").global("torch", "Size").integers(1, 2).op(0x85).op('R');
    pickle.text("dtype").global("torch", "float32");
    pickle.text("device").global("torch", "device").text("cpu").op(0x85).op('R');
    pickle.text("set").global("__builtin__", "set").op(']').op(0x85).op('R');
    pickle.text("frozen").global("builtins", "frozenset").op(']').op(0x85).op('R');
    pickle.text("complex").global("__builtin__", "complex").integers(1, 2).op('R');
    pickle.text("bytes").global("_codecs", "encode").text("x").text("latin1").op(0x86).op('R');
    pickle.text("array").global("__builtin__", "bytearray").op(')').op('R');
    pickle.text("counter").global("collections", "Counter").op('}').op(0x85).op('R');
    pickle.text("default").global("collections", "defaultdict");
    pickle.global("__builtin__", "list").op(0x85).op('R');
    pickle.text("k").floats("0", 1).op('s'); // a tensor inside the defaultdict
    pickle.text("pairs").global("collections", "OrderedDict").op(']').op(']');
    pickle.text("w").op('a').floats("0", 1).op('a').op('a').op(0x85).op('R');
    pickle.text("float").op('G').int64(0);
    pickle.text("long").op(0x8a, 9).raw(new byte[9]);
    pickle.integer(1).op(0x88);
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.op('u').stop()).storage("0", 1))) {
      assertEquals(List.of("default.k", "pairs.w"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  /** What training scripts leave beside the weights, as CPython 3 and 2 and NumPy write it. */
  @Test
  void plainDataOfKnownClassesIsPassedOver() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("args").global("argparse", "Namespace").op(')').op(0x81).op('}').op('(');
    pickle.text("lr").op('G').int64(0).text("mean").floats("0", 1).op('u').op('b');
    pickle.text("best").global("numpy.core.multiarray", "scalar").global("numpy", "dtype");
    pickle.text("f8").integers(0, 1).op('0').op(0x85).op('R');
    pickle.op('(').integer(3).text("<").op('N').op('t').op('b');
    pickle.python2("\0\0\0\0\u00f0\u00ff\u00ff\u00ff").op(0x86).op('R');
    pickle.text("seed").global("numpy._core.multiarray", "_reconstruct");
    pickle.global("numpy", "ndarray").integers(0).python2("b").op(0x87).op('R');
    pickle.op('(').integer(1).integers(2).global("numpy", "dtype").text("O8").op(0x85).op('R');
    pickle.op(0x89).op(']').text("a").op('a').text("b").op('a').op('t').op('b');
    pickle.text("time").global("datetime", "datetime").python2("\u0007\u00e3").op(0x85).op('R');
    pickle.text("path").global("pathlib", "PosixPath").text("/").text("x").op(0x86).op('R');
    pickle.text("config").global("easydict", "EasyDict").op(')').op(0x81);
    pickle.text("w").floats("1", 1).op('s').op('}').text("w").floats("1", 1).op('s').op('b');
    pickle.text("queue").global("collections", "deque").op(')').op('R').op('(');
    pickle.integer(1).floats("0", 1).op('e');
    pickle.text("pointer").op('I').raw("94073286912512\n".getBytes(StandardCharsets.US_ASCII));
    pickle.text("flag").op('I').raw("01\n".getBytes(StandardCharsets.US_ASCII));
    TorchZip zip = TorchZip.of(pickle.op('u').stop()).storage("0", 1).storage("1", 2);
    try (Checkpoint checkpoint = open(zip)) {
      assertEquals(
          List.of("args.mean", "config.w", "queue.1"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  /** PyTorch 0.1 made tensors and variables first and set their state then. */
  @Test
  void tensorsAndVariablesThatAreFilledLater() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("tensor").global("torch.cuda", "FloatTensor").op(')').op(0x81).op('q', 9);
    pickle.op('(').storage("FloatStorage", "0", 2).integer(1).integers(1).integers(1);
    pickle.op('t').op('b');
    pickle.text("variable").global("torch.autograd.variable", "Variable").op(')').op(0x81);
    pickle.op('(').op('h', 9).op('N').op('N').op(0x88).op(0x89).op('t').op('b');
    pickle.text("parameter").global("torch.nn.parameter", "Parameter").op('h', 9).op(0x85);
    pickle.op('R').op(0x88).op(0x89).orderedDict().op(0x87).op('b');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.op('u').stop()).storage("0", 4, 5))) {
      assertEquals(
          List.of("tensor", "variable", "parameter"), List.copyOf(checkpoint.tensors().keySet()));
      for (String name : checkpoint.tensors().keySet()) {
        assertArrayEquals(new float[] {5}, floats(checkpoint, name), name);
      }
    }
  }

  /** Strings of Python 2 are bytes: UTF-8 if they can be, else ISO-8859-1. */
  @Test
  void namesOfPython2() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.python2("ascii").floats("0", 1);
    pickle.python2("\u00c3\u00a9").floats("0", 1);
    pickle.python2("\u00fc").op('}').python2("w").floats("0", 1).op('s');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.op('u').stop()).storage("0", 1))) {
      assertEquals(
          List.of("ascii", "\u00e9", "\u00fc.w"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  @Test
  void attributesOfAStateDictAreNotTensorsOfIt() throws IOException {
    PickleBuilder pickle = new PickleBuilder().orderedDict();
    pickle.text("w").floats("0", 1).op('s');
    pickle.op('}').text("_metadata").floats("0", 1).op('s').op('b');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.stop()).storage("0", 1))) {
      assertEquals(List.of("w"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  @Test
  void assigningAKeyAgainReplacesItsTensor() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}');
    pickle.text("w").floats("0", 1).op('s').text("w").floats("1", 1).op('s');
    try (Checkpoint checkpoint = open(TorchZip.of(pickle.stop()).storage("0", 1).storage("1", 9))) {
      assertArrayEquals(new float[] {9}, floats(checkpoint, "w"));
    }
  }

  /** Files that CPython has pickled, with every opcode it uses; see make_pickles.py beside them. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5})
  void readsWhatPythonWrites(int protocol) throws IOException {
    byte[] pickle;
    try (var in = getClass().getResourceAsStream("cpython-protocol" + protocol + ".pkl")) {
      pickle = in.readAllBytes();
    }
    TorchZip zip = TorchZip.of(pickle).storage("0", 1, 2, 3, 4, 5, 6).storage("1", 7);
    try (Checkpoint checkpoint = open(zip)) {
      assertEquals(
          List.of("state_dict.a.weight", "state_dict.a.transposed", "list.4", "default.1.0"),
          List.copyOf(checkpoint.tensors().keySet()));
      assertArrayEquals(
          new float[] {1, 4, 2, 5, 3, 6}, floats(checkpoint, "state_dict.a.transposed"));
      assertArrayEquals(new float[] {6}, floats(checkpoint, "list.4"));
      assertArrayEquals(new float[] {7}, floats(checkpoint, "default.1.0"));
    }
  }

  @Test
  void regionsPointAtTheBytesInTheFile() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("tail").tensor("FloatStorage", "0", 4, 2, shape(1, 2), shape(99, 1));
    pickle.text("transposed").tensor("FloatStorage", "0", 4, 0, shape(2, 2), shape(1, 2));
    TorchZip zip = TorchZip.of(pickle.op('u').stop()).storage("0", 1, 2, 3, 4);
    try (Checkpoint checkpoint = open(zip)) {
      Checkpoint.FileRegion region = checkpoint.region("tail").orElseThrow();
      assertEquals(8, region.bytes());
      assertEquals(checkpoint.path(), region.file());
      ByteBuffer file = ByteBuffer.wrap(zip.bytes()).order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(3, file.getFloat((int) region.offset()));
      assertEquals(4, file.getFloat((int) region.offset() + 4));
      assertTrue(checkpoint.region("transposed").isEmpty());
    }
  }

  @Test
  void argumentsAreChecked() throws IOException {
    byte[] pickle = new PickleBuilder().floats("0", 2).stop();
    try (Checkpoint checkpoint = open(TorchZip.of(pickle).storage("0", 1, 2))) {
      for (long offset : new long[] {-1, 1, 8, 9, Long.MAX_VALUE, Long.MIN_VALUE}) {
        assertThrows(
            IllegalArgumentException.class,
            () -> checkpoint.read("tensor", offset, ByteBuffer.allocate(8)));
      }
      assertThrows(
          IllegalArgumentException.class,
          () -> checkpoint.read("other", 0, ByteBuffer.allocate(0)));
      assertThrows(IllegalArgumentException.class, () -> checkpoint.region("other"));
      checkpoint.read("tensor", 8, ByteBuffer.allocate(0));
    }
  }

  @Test
  void readingAfterCloseFails() throws IOException {
    byte[] pickle = new PickleBuilder().floats("0", 2).stop();
    Checkpoint checkpoint = open(TorchZip.of(pickle).storage("0", 1, 2));
    checkpoint.close();
    checkpoint.close();
    CheckpointException e =
        assertThrows(
            CheckpointException.class, () -> checkpoint.read("tensor", 0, ByteBuffer.allocate(8)));
    assertTrue(e.getMessage().contains("closed"), e.getMessage());
  }

  @Test
  void aFileThatShrinksWhileItIsReadIsAnError() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("c").tensor("FloatStorage", "0", 4, 0, shape(4), shape(1));
    pickle.text("t").tensor("FloatStorage", "0", 4, 0, shape(2, 2), shape(1, 2)).op('u');
    Path path = TorchZip.of(pickle.stop()).storage("0", 1, 2, 3, 4).write(folder);
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      long end = checkpoint.region("c").orElseThrow().offset() + 8;
      try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
        channel.truncate(end);
      }
      for (String name : List.of("c", "t")) {
        CheckpointException e =
            assertThrows(
                CheckpointException.class, () -> checkpoint.read(name, 0, ByteBuffer.allocate(16)));
        assertTrue(e.getMessage().contains("tensor '" + name + "'"), e.getMessage());
        assertTrue(e.getMessage().contains(path.toString()), e.getMessage());
        assertTrue(e.getMessage().contains("shorter"), e.getMessage());
      }
    }
  }
}
