package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sound pickles whose tensors have no name, no data, or reach beyond it. */
class PyTorchTensorAttackTest {
  @TempDir Path folder;

  private Path file(Consumer<PickleBuilder> content) throws IOException {
    PickleBuilder pickle = new PickleBuilder();
    content.accept(pickle);
    return TorchZip.of(pickle.stop()).storage("0", 1, 2, 3, 4).storage("1").write(folder);
  }

  @Test
  void namesMustDiffer() throws IOException {
    Consumer<PickleBuilder> same =
        p -> {
          p.op('}').op('(').text("a.b").floats("0", 4);
          p.text("a").op('}').text("b").floats("0", 4).op('s').op('u');
        };
    Refusal.of(file(same), "'a.b'", "two");
    Refusal.of(
        file(p -> p.op('}').op('(').text("1").floats("0", 4).integer(1).floats("0", 4).op('u')),
        "'1'");
  }

  @Test
  void keysThatCannotNameATensor() throws IOException {
    Refusal.of(file(p -> p.op('}').op('N').floats("0", 4).op('s')), "NoneType");
    Refusal.of(file(p -> p.op('}').integers(1, 2).floats("0", 4).op('s')), "tuple");
    Refusal.of(
        file(p -> p.op('}').op(0x8a, 9).raw(new byte[9]).floats("0", 4).op('s')), "type int");
    Refusal.of(
        file(p -> p.op('}').text("k".repeat(5000)).floats("0", 4).op('s')), "name of more than");
    // Without a tensor below them they do no harm.
    Path path = file(p -> p.op('}').op('(').op('N').op('N').text("w").floats("0", 4).op('u'));
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      assertEquals(List.of("w"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  @Test
  void filesWithoutTensors() throws IOException {
    Refusal.of(file(p -> p.op('N')), "no tensors", "NoneType");
    Refusal.of(file(p -> p.op('}')), "no tensors", "dict");
    Refusal.of(file(p -> p.storage("FloatStorage", "0", 4)), "no tensors", "torch.FloatStorage");
    Refusal.of(file(p -> p.global("collections", "OrderedDict")), "no tensors");
  }

  @Test
  void tensorsBeyondTheirStorage() throws IOException {
    String name = "tensor 'tensor'";
    Object[][] views = {
      {0L, shape(5), shape(1)},
      {1L, shape(4), shape(1)},
      {4L, shape(), shape()},
      {Long.MAX_VALUE, shape(1), shape(1)},
      {Long.MIN_VALUE, shape(1), shape(1)},
      {-1L, shape(1), shape(1)},
      {0L, shape(2, 2), shape(3, 1)},
      {0L, shape(2), shape(Long.MAX_VALUE)},
      {0L, shape(3, 3), shape(Long.MAX_VALUE / 2, Long.MAX_VALUE / 2)},
      {2L, shape(2), shape(-1)},
      {2L, shape(1), shape(-1)},
      {0L, shape(-1), shape(1)},
      {0L, shape(Long.MAX_VALUE), shape(0)},
      {0L, shape(1L << 32, 1L << 32), shape(0, 0)},
      {0L, shape(-2, -2), shape(1, 1)},
      {0L, shape(0, -3), shape(1, 1)},
      {-5L, shape(0), shape(1)},
    };
    for (Object[] v : views) {
      Refusal.of(
          file(p -> p.tensor("FloatStorage", "0", 4, (long) v[0], (long[]) v[1], (long[]) v[2])),
          name);
    }
  }

  @Test
  void storagesThatLie() throws IOException {
    for (long count : new long[] {0, 3, 5, 1L << 62, -1, Long.MIN_VALUE}) {
      Refusal.of(
          file(
              p ->
                  p.op('}')
                      .text("w")
                      .tensor("FloatStorage", "0", count, 0, shape(1), shape(1))
                      .op('s')),
          "tensor 'w'",
          "16 bytes");
    }
    // 2^62 + 4 elements of 4 bytes are 16 bytes in 64-bit arithmetic.
    Refusal.of(
        file(p -> p.tensor("FloatStorage", "0", (1L << 62) + 4, 0, shape(1), shape(1))), "tensor");
    Refusal.of(file(p -> p.floats("missing", 4)), "tensor 'tensor'", "'missing'");
    Refusal.of(file(p -> p.floats("../data.pkl", 4)), "'../data.pkl'");
  }

  @Test
  void unequalRanksAndTooManyDimensions() throws IOException {
    Refusal.of(
        file(p -> p.tensor("FloatStorage", "0", 4, 0, shape(2, 2), shape(1))), "2 dimensions");
    long[] ones = new long[65];
    Arrays.fill(ones, 1);
    Refusal.of(file(p -> p.tensor("FloatStorage", "0", 4, 0, ones, ones)), "65 dimensions");
  }

  @ParameterizedTest
  @CsvSource({
    "ComplexDoubleStorage, complex128",
    "QInt8Storage, qint8",
    "QUInt4x2Storage, quint4x2"
  })
  void typesThatSinewDoesNotHave(String storage, String type) throws IOException {
    Refusal.of(
        file(p -> p.op('}').text("w").tensor(storage, "0", 1, 0, shape(1), shape(1)).op('s')),
        "tensor 'w'",
        "torch." + type);
  }

  @Test
  void lazilyNegatedTensors() throws IOException {
    Consumer<PickleBuilder> negated =
        p -> {
          p.global("torch._utils", "_rebuild_tensor_v2").op('(').storage("FloatStorage", "0", 4);
          p.integer(0).integers(4).integers(1).op(0x89).orderedDict();
          p.op('}').text("neg").op(0x88).op('s').op('t').op('R');
        };
    Refusal.of(file(negated), "resolve_neg()");
  }

  @Test
  void offsetsOfMoreThan64Bits() throws IOException {
    byte[] huge = new byte[9];
    huge[8] = 1;
    Refusal.of(
        file(
            p ->
                p.global("torch._utils", "_rebuild_tensor_v2")
                    .op('(')
                    .storage("FloatStorage", "0", 4)
                    .op(0x8a, 9)
                    .raw(huge)
                    .integers(4)
                    .integers(1)
                    .op(0x89)
                    .orderedDict()
                    .op('t')
                    .op('R')),
        "an integer of at most 64 bits belongs");
  }

  @Test
  void expansionIsBounded() throws IOException {
    Path path = file(p -> p.tensor("FloatStorage", "0", 4, 0, shape(1L << 40), shape(0)));
    Refusal.of(path, "expand");
    Path fine = file(p -> p.tensor("FloatStorage", "0", 4, 0, shape(1L << 30), shape(0)));
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(fine)) {
      assertEquals(4L << 30, checkpoint.tensors().get("tensor").bytes());
    }
  }
}
