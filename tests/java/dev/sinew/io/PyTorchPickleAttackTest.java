package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pickles that call something, lie, recurse or explode: one sentence each, soon. */
class PyTorchPickleAttackTest {
  @TempDir Path folder;

  private Path file(byte[] pickle) throws IOException {
    return TorchZip.of(pickle).storage("0", 1, 2, 3, 4).storage("1").write(folder);
  }

  private Path file(Consumer<PickleBuilder> content) throws IOException {
    PickleBuilder pickle = new PickleBuilder();
    content.accept(pickle);
    return file(pickle.stop());
  }

  // Code.

  @ParameterizedTest
  @CsvSource({
    "posix, system",
    "os, system",
    "builtins, eval",
    "__builtin__, getattr",
    "subprocess, Popen",
    "__main__, Net",
    "torch.nn.modules.linear, Linear",
    "numpy, load",
    "numpy.core.multiarray, fromfile",
    "__main__, Config",
    "torch, load",
    "torch._utils, _rebuild_everything",
    "torch.storage, _load_from_bytes",
    "argparse, ArgumentParser"
  })
  void namesWhatItDoesNotExecute(String module, String name) throws IOException {
    String full = module.replace("__builtin__", "builtins") + "." + name;
    Refusal.of(
        file(p -> p.global(module, name).text("touch /tmp/x").op(0x85).op('R')),
        full,
        "executes nothing",
        "state_dict");
    Refusal.of(
        file(p -> p.text(module).text(name).op(0x93).op(')').op('R')), full, "executes nothing");
  }

  @ParameterizedTest
  @CsvSource({
    "_rebuild_qtensor, quantized",
    "_rebuild_sparse_tensor, sparse",
    "_rebuild_nested_tensor, nested",
    "_rebuild_meta_tensor_no_storage, meta",
    "_rebuild_wrapper_subclass, subclass"
  })
  void namesTensorsThatAreNotDense(String function, String kind) throws IOException {
    Refusal.of(file(p -> p.global("torch._utils", function)), kind, function, "state_dict");
  }

  @ParameterizedTest
  @ValueSource(chars = {'i', 'o', 'L', 'F', 'S', 'V', 'P', 'g', 'p', 'd', 'l', 0x82, 0x97, 0})
  void opcodesThatTorchDoesNotWrite(char opcode) throws IOException {
    Refusal.of(file(p -> p.op('(').op(opcode)), String.format("0x%02x", (int) opcode));
  }

  @Test
  void callsNeedAnAllowedFunctionAndATuple() throws IOException {
    Refusal.of(file(p -> p.text("system").op(')').op('R')), "calls a str");
    Refusal.of(file(p -> p.global("torch", "FloatStorage").op(')').op('R')), "torch.FloatStorage");
    Refusal.of(file(p -> p.global("torch", "Tensor").op(')').op(0x81)), "torch.Tensor");
    Refusal.of(file(p -> p.global("torch", "Size").op(']').op('R')), "without a tuple");
    Refusal.of(file(p -> p.global("torch", "Size").op(')').op('R')), "torch.Size", "arguments");
    Refusal.of(
        file(p -> p.global("torch", "Size").op(')').op('}').text("a").op('N').op('s').op(0x92)),
        "keyword");
    Refusal.of(file(p -> p.global("torch", "Size").op(')').op('N').op(0x92)), "keyword");
  }

  @Test
  void onlyDictionariesTakeAttributes() throws IOException {
    Refusal.of(file(p -> p.floats("0", 4).op('}').op('b')), "state of a torch.Tensor");
    Refusal.of(file(p -> p.op(']').op('}').op('b')), "state of a list");
  }

  @Test
  void tensorsThatAreFilledLaterAreChecked() throws IOException {
    Consumer<PickleBuilder> late = p -> p.global("torch", "FloatTensor").op(')').op(0x81);
    Refusal.of(file(late), "torch.FloatTensor without a state");
    Refusal.of(file(late.andThen(p -> p.op('}').op('b'))), "state of a torch.FloatTensor");
    Refusal.of(file(late.andThen(p -> p.integers(1, 2).op('b'))), "state of 2 values");
    Refusal.of(file(late.andThen(p -> p.integers(1, 2, 3, 4).op('b'))), "a storage");
    Refusal.of(file(late.andThen(p -> p.integers(1, 2, 3, 4, 5).op('b'))), "a tensor");
    // Its own state.
    Refusal.of(
        file(
            p -> {
              p.global("torch", "FloatTensor").op(')').op(0x81).op('q', 0);
              p.op('(').op('h', 0).op('N').op('N').op('N').op('N').op('t').op('b');
            }),
        "without a state");
    Refusal.of(
        file(p -> p.global("torch", "FloatTensor").integers(3).op('R')), "torch.FloatTensor");
    Refusal.of(file(p -> p.floats("0", 4).integers(1, 2).op('b')), "state of a torch.Tensor");
  }

  /** Passing over an array must not lose a tensor in it. */
  @Test
  void arraysOfTensorsAreRefused() throws IOException {
    Refusal.of(
        file(
            p -> {
              p.global("numpy.core.multiarray", "_reconstruct").op(')').op('R').op('(');
              p.integer(1).integers(1).op('N').op(0x89).op(']').floats("0", 4).op('a');
              p.op('t').op('b');
            }),
        "sets the state of a numpy.core.multiarray._reconstruct");
  }

  @Test
  void rebuildFunctionsDoNotNest() throws IOException {
    PickleBuilder pickle = new PickleBuilder();
    for (int i = 0; i < 100_000; i++) {
      pickle.global("torch._tensor", "_rebuild_from_type_v2").global("torch", "Tensor").op('(');
    }
    for (int i = 0; i < 100_000; i++) {
      pickle.op('t').op(0x87);
    }
    Refusal.of(file(pickle.stop()));
    // All of it would make sense but for the nesting.
    Consumer<PickleBuilder> nested =
        p -> {
          p.global("torch._tensor", "_rebuild_from_type_v2").op('(');
          p.global("torch._tensor", "_rebuild_from_type_v2").global("torch", "Tensor").op('(');
          p.global("torch._utils", "_rebuild_tensor").global("torch", "Tensor").op('(');
          p.storage("FloatStorage", "0", 4).integer(0).integers(4).integers(1).op('t');
          p.op('}').op('t').op('}').op('t').op('R');
        };
    Refusal.of(file(nested), "rebuilt with torch._tensor._rebuild_from_type_v2");
  }

  // The machine.

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = new PickleBuilder().op('}').op('(').text("w").floats("0", 4).op('u').stop();
    for (int length = 0; length < whole.length; length++) {
      Refusal.of(file(Arrays.copyOf(whole, length)));
    }
    PyTorchCheckpoint.open(file(whole)).close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "8c ff",
        "58 ffffffff",
        "58 00000080",
        "8d ffffffffffffffff",
        "8d 0000000001000000",
        "42 ffffffff",
        "8e 0000000000000080",
        "96 ffffffffffffff7f",
        "8b ffffffff",
        "8b 00000010",
        "8a ff",
        "55 ff",
        "54 ffffffff",
        "54 00000040",
        "43 ff",
        "95 ffffffffffffffff",
        "95 ffffffffffffff7f",
        "95 0001000000000000"
      })
  void lengthsBeyondTheEnd(String hex) throws IOException {
    byte[] opcode = HexFormat.of().parseHex(hex.replace(" ", ""));
    Refusal.of(file(p -> p.raw(opcode)), "announced");
  }

  @Test
  void stackAndMarkUnderflow() throws IOException {
    for (char opcode : "0atesRbQ2q".toCharArray()) {
      Refusal.of(file(new PickleBuilder().op(opcode).stop()), "damaged");
      Refusal.of(
          file(new PickleBuilder().op('}').op('N').op('N').op('(').op(opcode).op('R').stop()));
    }
    for (int opcode : new int[] {0x85, 0x86, 0x87, 0x81, 0x90, 0x91, 0x92, 0x93, 0x94, '1', 'u'}) {
      Refusal.of(file(new PickleBuilder().op(opcode).stop()), "damaged");
    }
    Refusal.of(file(new PickleBuilder().stop()), "empty stack");
    Refusal.of(file(p -> p.op('N').op('N')), "left on the stack");
    Refusal.of(file(p -> p.op('(').op('N')), "left on the stack");
    Refusal.of(file(p -> p.op('h', 7)), "memo entry 7");
    Refusal.of(file(p -> p.op('j').int32(-1)), "memo entry 4294967295");
  }

  /** Without the mark's protection these would leave a tensor on the stack. */
  @Test
  void valuesBelowAMarkAreOutOfReach() throws IOException {
    Refusal.of(file(p -> p.floats("0", 4).op('(').op(0x85).op('1')), "empty stack");
    Refusal.of(file(p -> p.floats("0", 4).op('(').op('2').op('1')), "empty stack");
  }

  @Test
  void wrongTypes() throws IOException {
    Refusal.of(file(p -> p.op('N').text("k").op('N').op('s')), "sets an item of a NoneType");
    Refusal.of(file(p -> p.op('}').op('N').op('a')), "adds to a dict");
    Refusal.of(file(p -> p.op(')').op('N').op('a')), "adds to a tuple");
    Refusal.of(file(p -> p.op(']').op('(').op('N').op(0x90)), "adds to a list");
    Refusal.of(file(p -> p.op('}').op('(').op('N').op('u')), "without a value");
    Refusal.of(file(p -> p.text("storage").op('Q')), "persistent id");
    Refusal.of(file(p -> p.integers(1, 2, 3, 4, 5).op('Q')), "persistent id");
    Refusal.of(file(p -> p.op('(').text("storage").op('t').op('Q')), "persistent id");
    Refusal.of(file(p -> p.storage("float32", "0", 4)), "storage class");
    Refusal.of(file(p -> p.integer(1).text("n").op(0x93)), "not text");
    Refusal.of(
        file(p -> p.global("torch._utils", "_rebuild_tensor_v2").integers(1, 2, 3, 4).op('R')),
        "_rebuild_tensor_v2",
        "a storage");
    Refusal.of(file(p -> p.global("collections", "OrderedDict").op('N').op(0x85).op('R')));
    Refusal.of(
        file(p -> p.global("collections", "OrderedDict").integers(1).op(0x85).op('R')), "pairs");
    Refusal.of(file(p -> p.op('X').int32(2).op(0xc3, 0x28)), "UTF-8");
    Refusal.of(file(new PickleBuilder().op(0x80, 6).op('N').stop()), "protocol 6");
    Refusal.of(file(new PickleBuilder().op(0x80, 1).op('N').stop()), "protocol 1");
    Refusal.of(file(p -> p.raw("cposix".getBytes()).raw(new byte[5000])), "has no end");
  }

  @Test
  void messagesCannotSteerATerminal() throws IOException {
    String message = Refusal.of(file(p -> p.global("a\u001b[2J\r", "b\u202e" + "x".repeat(900))));
    assertEquals(-1, message.indexOf('\u202e'));
  }

  // Structure.

  @ParameterizedTest
  @ValueSource(ints = {1001, 200_000})
  void deepNesting(int depth) throws IOException {
    PickleBuilder pickle = new PickleBuilder();
    for (int i = 0; i < depth; i++) {
      pickle.op(']');
    }
    for (int i = 1; i < depth; i++) {
      pickle.op('a');
    }
    Refusal.of(file(pickle.stop()), "nested");
    PickleBuilder tuples = new PickleBuilder().op(')');
    for (int i = 0; i < depth; i++) {
      tuples.op(0x85);
    }
    Refusal.of(file(tuples.stop()), "nested");
    PickleBuilder marks = new PickleBuilder();
    for (int i = 0; i < depth; i++) {
      marks.op('(');
    }
    Refusal.of(file(marks.stop()));
  }

  @Test
  void containersThatContainThemselves() throws IOException {
    Refusal.of(file(p -> p.op(']').op('q', 0).op('h', 0).op('a')), "contains itself");
    Refusal.of(
        file(
            p ->
                p.op('}')
                    .op('q', 0)
                    .text("me")
                    .op('h', 0)
                    .op('s')
                    .text("w")
                    .floats("0", 4)
                    .op('s')),
        "contains itself");
    // A tuple that contains itself through a list.
    Refusal.of(file(p -> p.op(']').op('q', 0).op('h', 0).op(0x85).op('a')), "contains itself");
    // Itself as a key, where a hash of the contents would recurse.
    Refusal.of(file(p -> p.op('}').op('q', 0).op('h', 0).op('N').op('s')), "no tensors");
  }

  /** Each list holds the one before ten times, so 40 lines describe 10^40 values. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void billionLaughs(boolean tensors) throws IOException {
    PickleBuilder pickle = new PickleBuilder();
    if (tensors) {
      pickle.floats("0", 4);
    } else {
      pickle.text("ha");
    }
    pickle.op('q', 0);
    for (int level = 1; level <= 40; level++) {
      pickle.op('0').op(']').op('q', level).op('(');
      for (int i = 0; i < 10; i++) {
        pickle.op('h', level - 1);
      }
      pickle.op('e');
    }
    Refusal.of(file(pickle.stop()), tensors ? "Java heap" : "expands to more than");
  }

  @Test
  void copiesOfABigDictionaryAreCharged() throws IOException {
    PickleBuilder pickle = new PickleBuilder().op('}').op('q', 0).op('(');
    for (int i = 0; i < 100_000; i++) {
      pickle.integer(i).op('N');
    }
    pickle.op('u').global("collections", "OrderedDict").op('q', 1).op('(');
    for (int i = 0; i < 100_000; i++) {
      pickle.op('h', 1).op('h', 0).op(0x85).op('R');
    }
    Refusal.of(file(pickle.op('t').stop()), "Java heap");
  }

  @Test
  void hugeMemoIndicesCostNothing() throws IOException {
    Path path =
        file(p -> p.floats("0", 4).op('r').int32(-1).op('0').op('j').int32(Integer.MAX_VALUE));
    Refusal.of(path, "memo entry 2147483647");
    Path good = file(p -> p.floats("0", 4).op('r').int32(-1).op('0').op('j').int32(-1));
    PyTorchCheckpoint.open(good).close();
  }

  /** Many values of one byte each, in a heap that is taken to be small. */
  @Test
  void valuesAreChargedToTheHeapBudget() throws IOException {
    byte[] pickle = new byte[5_000_000];
    Arrays.fill(pickle, (byte) '}');
    pickle[0] = (byte) 0x80;
    pickle[1] = 2;
    Path path = Files.write(folder.resolve("pickle"), pickle);
    HeapBudget budget = HeapBudget.of(path, 0, 1L << 30);
    try (InputFile file = InputFile.open(path)) {
      PickleInput in = new PickleInput(file, 0, file.size(), "the file");
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> Unpickler.load(in, budget));
      assertTrue(e.getMessage().contains("32 MiB of the Java heap"), e.getMessage());
    }
  }

  /** Opcodes that make nothing cost no heap, but time. */
  @Test
  void longPicklesOfNothingEnd() throws IOException {
    Path path = folder.resolve("pickle");
    try (FileChannel channel =
        FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      byte[] frame = {(byte) 0x95, 0, 0, 0, 0, 0, 0, 0, 0};
      ByteBuffer frames = ByteBuffer.allocate(9 << 20);
      while (frames.hasRemaining()) {
        frames.put(frame);
      }
      for (int i = 0; i < 30; i++) {
        channel.write(frames.rewind());
      }
    }
    try (InputFile file = InputFile.open(path)) {
      PickleInput in = new PickleInput(file, 0, file.size(), "the file");
      HeapBudget budget = HeapBudget.of(path, file.size());
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> Unpickler.load(in, budget));
      assertTrue(e.getMessage().contains("limit: 268435456"), e.getMessage());
    }
  }

  /** What is 16 KiB long is no name, and is passed over without being decoded. */
  @Test
  void longTextIsPassedOver() throws IOException {
    String source = "x".repeat(1 << 20);
    Path path =
        file(p -> p.op('}').op('(').text("source").text(source).text("w").floats("0", 4).op('u'));
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      assertEquals(List.of("w"), List.copyOf(checkpoint.tensors().keySet()));
    }
    Refusal.of(file(p -> p.op('}').text(source).floats("0", 4).op('s')), "key of type str");
  }

  @ParameterizedTest
  @ValueSource(strings = {"1L", "", "1.5", "0x1", "99999999999999999999", "1 "})
  void integersInDecimalAreChecked(String text) throws IOException {
    Refusal.of(file(p -> p.op('I').raw((text + "\n").getBytes())), "is given as an integer");
  }
}
