package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Hostile checkpoints with tensors that claim to be stored with a bitmap, one a test. */
class BitmapAttackTest {
  // [3, 10] with the values of row 0 in columns 0 and 9, of row 1 in none, of row 2 in column 4.
  private DType type = DType.F32;
  private long[] values = {3};
  private byte[] bitmap = {1, 2, 0, 0, 16, 0};
  private long[] bitmapShape = {3, 2};
  private long[] offsets = {0, 2, 2, 3};
  private long[] shape = {3, 10};

  private MemoryCheckpoint checkpoint() {
    TensorInfo stored = TensorInfo.of("t", type, values);
    MemoryCheckpoint checkpoint = new MemoryCheckpoint();
    checkpoint.add(stored, new byte[(int) stored.bytes()]);
    checkpoint.add(TensorInfo.of("t_bitmap", DType.U8, bitmapShape), bitmap);
    checkpoint.add(
        TensorInfo.of("t_row_offsets", DType.I64, offsets.length), BitmapOracle.bytes(offsets));
    checkpoint.add(TensorInfo.of("t_shape", DType.I64, shape.length), BitmapOracle.bytes(shape));
    return checkpoint;
  }

  private static void requireSentence(CheckpointException e, String part) {
    String message = e.getMessage();
    assertTrue(message.contains(part), message);
    assertTrue(message.contains("'t'") && message.contains("model.test"), message);
    assertFalse(message.contains("\n"), message);
  }

  /** Refused when the checkpoint is looked at. */
  private void refusedAtOnce(String part) {
    requireSentence(
        assertThrows(CheckpointException.class, () -> Decoding.dense(checkpoint())), part);
    requireSentence(
        assertThrows(CheckpointException.class, () -> Decoding.view(checkpoint())), part);
  }

  /** Refused when data is read. */
  private void refusedInReading(String part) throws Exception {
    try (Checkpoint view = Decoding.dense(checkpoint())) {
      int bytes = (int) view.tensors().get("t").bytes();
      requireSentence(
          assertThrows(
              CheckpointException.class, () -> view.read("t", 0, ByteBuffer.allocate(bytes))),
          part);
    }
    Optimizer.Options options =
        new Optimizer.Options(
            new Targets(List.of("*"), List.of()), 2, false, Optimizer.Progress.NONE);
    MemoryWriter writer = new MemoryWriter();
    requireSentence(
        assertThrows(
            CheckpointException.class,
            () -> Optimizer.optimize(checkpoint(), List.of(Prune.nm(2, 4)), options, writer)),
        part);
    assertFalse(writer.committed);
  }

  @Test
  void theTensorThatTheAttacksBeginWithIsFine() throws Exception {
    try (Checkpoint view = Decoding.dense(checkpoint())) {
      view.read("t", 0, ByteBuffer.allocate(120));
    }
  }

  @Test
  void offsetsThatGoBack() throws Exception {
    offsets = new long[] {0, 2, 1, 3};
    refusedInReading("row 1 of 10 columns goes from value 2 to 1");
  }

  @Test
  void offsetsBeyondTheValues() throws Exception {
    offsets = new long[] {0, 2, 4, 3};
    refusedInReading("row 2 begins at value 4 of 3");
  }

  @Test
  void enormousOffsets() throws Exception {
    offsets = new long[] {0, Long.MAX_VALUE, Long.MAX_VALUE, 3};
    refusedInReading("begins at value 9223372036854775807");
  }

  @Test
  void negativeOffsets() throws Exception {
    offsets = new long[] {0, -1, 2, 3};
    refusedInReading("begins at value -1");
  }

  @Test
  void moreValuesInARowThanColumns() throws Exception {
    values = new long[] {11};
    shape = new long[] {3, 10};
    offsets = new long[] {0, 11, 11, 11};
    refusedInReading("row 0 of 10 columns goes from value 0 to 11");
  }

  @Test
  void offsetsThatDoNotBeginAtZero() {
    offsets = new long[] {1, 2, 2, 3};
    refusedAtOnce("its row offsets go from 1 to 3 instead of from 0 to 3");
  }

  @Test
  void offsetsThatDoNotEndWithTheValues() {
    offsets = new long[] {0, 2, 2, 2};
    refusedAtOnce("from 0 to 2 instead of from 0 to 3");
  }

  @Test
  void offsetsThatDoNotFitTheBitmap() throws Exception {
    offsets = new long[] {0, 1, 2, 3};
    refusedInReading("row_offsets do not fit the ones of the bitmap");
  }

  @Test
  void aBitmapWithAnotherNumberOfOnes() throws Exception {
    bitmap[2] = 1;
    refusedInReading("values has 3 elements, but the bitmap 4 ones");
  }

  @Test
  void aBitmapWithOnesBeyondTheLastColumn() throws Exception {
    bitmap[1] = 4;
    refusedInReading("ones beyond the last column");
  }

  @Test
  void aLongRowWhoseBitmapHasAnotherNumberOfOnes() throws Exception {
    shape = new long[] {1, 1_000_000};
    bitmap = new byte[125_000];
    bitmap[0] = 7;
    bitmap[124_999] = 1;
    bitmapShape = new long[] {1, 125_000};
    offsets = new long[] {0, 3};
    refusedInReading("row 0 has 3 values, but 4 ones in its bitmap");
  }

  @Test
  void aLongRowWithOnesBeyondTheLastColumn() throws Exception {
    shape = new long[] {1, 999_999};
    bitmap = new byte[125_000];
    bitmap[0] = 3;
    bitmap[124_999] = (byte) 0x80;
    bitmapShape = new long[] {1, 125_000};
    offsets = new long[] {0, 3};
    refusedInReading("ones beyond the last column");
  }

  @Test
  void aBitmapThatIsTooShort() {
    bitmap = new byte[3];
    bitmapShape = new long[] {3, 1};
    refusedAtOnce("'t_bitmap' has the shape [3, 1] instead of [3, 2]");
  }

  @Test
  void aBitmapOfAnotherShape() {
    bitmapShape = new long[] {6};
    refusedAtOnce("'t_bitmap' has the shape [6] instead of [3, 2]");
  }

  @Test
  void tooFewOffsets() {
    offsets = new long[] {0, 2, 3};
    refusedAtOnce("'t_row_offsets' has the shape [3] instead of [4]");
  }

  @Test
  void noOffsets() {
    offsets = new long[0];
    shape = new long[] {0, 10};
    refusedAtOnce("3 values for 0 elements");
  }

  @Test
  void valuesThatAreNoList() {
    values = new long[] {3, 1};
    refusedAtOnce("its values are not a list, but [3, 1]");
  }

  @Test
  void moreValuesThanElements() {
    shape = new long[] {1, 2};
    refusedAtOnce("it has 3 values for 2 elements");
  }

  @Test
  void aNegativeDimension() {
    shape = new long[] {-3, 10};
    refusedAtOnce("its shape [-3, 10] is impossible");
  }

  @Test
  void aShapeThatOverflows() {
    shape = new long[] {1L << 40, 1L << 40};
    refusedAtOnce("is impossible");
  }

  @Test
  void rowsThatOverflow() {
    shape = new long[] {Long.MAX_VALUE, 0};
    refusedAtOnce("is impossible");
  }

  @Test
  void columnsOfNothingThatOverflow() {
    values = new long[] {0};
    shape = new long[] {0, Long.MAX_VALUE, 3};
    refusedAtOnce("is impossible");
  }

  @Test
  void aShapeOfManyDimensions() {
    shape = new long[65];
    refusedAtOnce("not a list of at most 64 numbers");
  }

  @Test
  void elementsOfHalfABytes() {
    type = DType.F4;
    values = new long[] {4};
    refusedAtOnce("is impossible for its type");
  }
}
