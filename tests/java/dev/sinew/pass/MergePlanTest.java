package dev.sinew.pass;

import static dev.sinew.Numbers.decode;
import static dev.sinew.pass.MergerTest.merge;
import static dev.sinew.pass.MergerTest.options;
import static dev.sinew.pass.MergerTest.refused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Which tensors of several models are merged, copied, left out, or refused. */
class MergePlanTest {
  @Test
  void integersComeFromTheFirst() throws IOException {
    MemoryCheckpoint a = new MemoryCheckpoint().meta("origin", "a").meta("sinew.recipe", "old");
    a.add("w", DType.F32, new double[] {1}, 1);
    a.add("same", DType.I64, new double[] {5, 6}, 2);
    a.add("steps", DType.I64, new double[] {5}, 1);
    a.add("mask", DType.BOOL, new double[] {1, 0}, 2);
    a.add("kind", DType.I32, new double[] {3}, 1);
    MemoryCheckpoint b = new MemoryCheckpoint();
    b.add("w", DType.F32, new double[] {2}, 1);
    b.add("same", DType.I64, new double[] {5, 6}, 2);
    b.add("steps", DType.I64, new double[] {9}, 1);
    b.add("mask", DType.BOOL, new double[] {1, 1}, 2);
    b.add("kind", DType.I64, new double[] {3}, 1);
    MemoryWriter writer = new MemoryWriter();
    MergeReport report = Merger.merge(List.of(a, b), null, Merge.linear(), options(2), writer);
    assertArrayEquals(a.bytes("steps"), writer.data.get("steps"));
    assertArrayEquals(a.bytes("mask"), writer.data.get("mask"));
    assertArrayEquals(a.bytes("kind"), writer.data.get("kind"));
    assertEquals(
        List.of(
            "w MERGED null",
            "same COPIED I64, equal in all models",
            "steps COPIED I64, differs between models: taken from the first",
            "mask COPIED BOOL, differs between models: taken from the first",
            "kind COPIED I32, taken from the first model"),
        report.tensors().stream()
            .map(t -> t.name() + " " + t.action() + " " + t.reason())
            .toList());
    assertEquals("--method linear", report.recipe());
    assertEquals(
        report.inputBytes(), report.bytesRead() + 8, "all but the other model's I64 is read");
    assertEquals("a", writer.metadata.get("origin"));
    assertEquals("pt", writer.metadata.get("format"));
    assertEquals("--method linear", writer.metadata.get("sinew.recipe"));
    assertEquals("model.test, model.test", writer.metadata.get("sinew.merged"));
    assertFalse(writer.metadata.containsKey("sinew.base"));
    MemoryWriter based = merge(List.of(a), b, Merge.taskArithmetic(), 1, 32 << 20);
    assertEquals("model.test", based.metadata.get("sinew.base"));
  }

  @Test
  void whatDoesNotFitIsRefused() {
    MemoryCheckpoint a = new MemoryCheckpoint();
    MemoryCheckpoint b = new MemoryCheckpoint();
    a.add("w", DType.F32, new double[] {1, 2}, 2).add("v", DType.F32, new double[] {1}, 1);
    b.add("w", DType.F32, new double[] {1, 2}, 1, 2).add("v", DType.I32, new double[] {1}, 1);
    String shapes = refused(List.of(a, b), null, Merge.linear());
    assertTrue(shapes.contains("'w' is F32 [2] in") && shapes.contains("F32 [1, 2] in"), shapes);
    assertTrue(shapes.contains("'v' is F32 [1]") && shapes.contains("I32 [1]"), shapes);
    MemoryCheckpoint many = new MemoryCheckpoint();
    many.add("w", DType.F32, new double[] {1, 2}, 2).add("v", DType.F32, new double[] {1}, 1);
    for (int i = 0; i < 5; i++) {
      many.add("extra." + i, DType.F32, new double[] {1}, 1);
    }
    String names = refused(List.of(many, a), null, Merge.linear());
    assertTrue(names.contains("'extra.0', 'extra.1', 'extra.2' and 2 more"), names);
    assertTrue(names.contains("--missing skip"), names);
    assertTrue(refused(List.of(a), many, Merge.taskArithmetic()).contains("lacks 'extra.0'"));
    assertTrue(shapes.contains("--missing skip") && shapes.contains("--skip GLOB"), shapes);

    MemoryCheckpoint eighth = new MemoryCheckpoint();
    MemoryCheckpoint other = new MemoryCheckpoint();
    eighth.add(dev.sinew.model.TensorInfo.of("w", DType.F8_E4M3, 1), new byte[] {1});
    other.add(dev.sinew.model.TensorInfo.of("w", DType.F8_E4M3, 1), new byte[] {2});
    assertTrue(refused(List.of(eighth, other), null, Merge.linear()).contains("F8_E4M3 differs"));

    MemoryCheckpoint quantized = new MemoryCheckpoint();
    quantized.add("w", DType.I8, new double[] {1, 2}, 1, 2);
    quantized.add("w_scale", DType.F32, new double[] {1}, 1);
    assertTrue(
        refused(List.of(quantized, quantized), null, Merge.linear()).contains("is quantized"));
    MemoryCheckpoint alone = new MemoryCheckpoint().add("x", DType.F32, new double[] {1}, 1);
    Merger.Options skip =
        new Merger.Options(Merger.Missing.SKIP, List.of(), 1, false, Optimizer.Progress.NONE);
    String nothing =
        assertThrows(
                CheckpointException.class,
                () ->
                    Merger.merge(List.of(a, alone), null, Merge.linear(), skip, new MemoryWriter()))
            .getMessage();
    assertTrue(nothing.contains("no tensor in common"), nothing);
  }

  @Test
  void whatIsMissingIsLeftOutOrCopied() throws IOException {
    MemoryCheckpoint a = new MemoryCheckpoint();
    MemoryCheckpoint b = new MemoryCheckpoint();
    a.add("w", DType.F32, new double[] {1}, 1).add("a", DType.F16, new double[] {5}, 1);
    b.add("b", DType.F32, new double[] {7, 8}, 2).add("w", DType.F32, new double[] {3}, 1);
    for (Merger.Missing missing : List.of(Merger.Missing.SKIP, Merger.Missing.COPY)) {
      MemoryWriter writer = new MemoryWriter();
      MergeReport report =
          Merger.merge(
              List.of(a, b),
              null,
              Merge.linear(),
              new Merger.Options(missing, List.of(), 2, false, Optimizer.Progress.NONE),
              writer);
      assertArrayEquals(new double[] {2}, decode(DType.F32, writer.data.get("w")));
      boolean copy = missing == Merger.Missing.COPY;
      assertEquals(copy ? Set.of("w", "a", "b") : Set.of("w"), writer.data.keySet());
      if (copy) {
        assertArrayEquals(a.bytes("a"), writer.data.get("a"));
        assertArrayEquals(b.bytes("b"), writer.data.get("b"));
        assertEquals(1, report.tensors().get(2).source());
      }
      assertEquals("only in 1 of 2 checkpoints", report.tensors().get(1).reason());
    }
  }

  /** A name that two models have with different shapes, or kinds of type, is missing as well. */
  @Test
  void whatDiffersInShapeIsLeftOutOrCopied() throws IOException {
    MemoryCheckpoint a = new MemoryCheckpoint().add("w", DType.F32, new double[] {1}, 1);
    a.add("head", DType.F32, new double[] {1, 2}, 2).add("v", DType.I32, new double[] {4}, 1);
    MemoryCheckpoint b = new MemoryCheckpoint().add("w", DType.F32, new double[] {3}, 1);
    b.add("head", DType.F32, new double[] {1, 2, 3}, 3).add("v", DType.F32, new double[] {5}, 1);
    for (Merger.Missing missing : List.of(Merger.Missing.SKIP, Merger.Missing.COPY)) {
      MemoryWriter writer = new MemoryWriter();
      Merger.Options options =
          new Merger.Options(missing, List.of(), 2, false, Optimizer.Progress.NONE);
      MergeReport report = Merger.merge(List.of(a, b), null, Merge.linear(), options, writer);
      assertArrayEquals(new double[] {2}, decode(DType.F32, writer.data.get("w")));
      boolean copy = missing == Merger.Missing.COPY;
      assertEquals(copy ? Set.of("w", "head", "v") : Set.of("w"), writer.data.keySet());
      for (String name : copy ? List.of("head", "v") : List.<String>of()) {
        assertArrayEquals(a.bytes(name), writer.data.get(name));
      }
      for (MergeReport.Entry entry : report.tensors().subList(1, 3)) {
        assertEquals("shape or type differs between checkpoints", entry.reason());
        assertEquals(copy ? 0 : -1, entry.source());
      }
    }
    // Nothing that fits is left.
    MemoryCheckpoint c = new MemoryCheckpoint().add("w", DType.F32, new double[] {3, 4}, 2);
    Merger.Options skip =
        new Merger.Options(Merger.Missing.SKIP, List.of(), 1, false, Optimizer.Progress.NONE);
    assertThrows(
        CheckpointException.class,
        () -> Merger.merge(List.of(a, c), null, Merge.linear(), skip, new MemoryWriter()));
  }

  /** Heads of different shapes, which the first model decides about. */
  @Test
  void skippedTensorsComeFromTheFirst() throws IOException {
    MemoryCheckpoint a = new MemoryCheckpoint();
    MemoryCheckpoint b = new MemoryCheckpoint();
    a.add("w", DType.F32, new double[] {1}, 1).add("head.a", DType.F32, new double[] {5}, 1);
    b.add("head.a", DType.F32, new double[] {7, 8}, 2).add("w", DType.F32, new double[] {3}, 1);
    b.add("head.b", DType.F32, new double[] {7, 8}, 2);
    MemoryWriter writer = new MemoryWriter();
    Merger.merge(
        List.of(a, b),
        null,
        Merge.linear(),
        new Merger.Options(
            Merger.Missing.ERROR, List.of("head.*"), 2, false, Optimizer.Progress.NONE),
        writer);
    assertEquals(Set.of("w", "head.a"), writer.data.keySet());
    assertArrayEquals(a.bytes("head.a"), writer.data.get("head.a"));
  }
}
