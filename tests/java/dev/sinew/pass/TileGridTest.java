package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.TensorInfo;
import java.util.List;
import org.junit.jupiter.api.Test;

class TileGridTest {
  private static final TileGrid.Sizes SIZES = TileGrid.Sizes.forWorkers(2);
  private static final List<List<Pass>> RECIPES =
      List.of(
          List.of(Prune.threshold(1)),
          List.of(Prune.nm(2, 4)),
          List.of(Prune.nm(3, 5), Quantize.int4(32)),
          List.of(Prune.nm(1, 4095)),
          List.of(Prune.sparsity(0.5, Prune.Scope.TENSOR)),
          List.of(Prune.sparsity(0.5, Prune.Scope.TENSOR), Quantize.int4(2)),
          List.of(Prune.sparsity(0.5, Prune.Scope.GLOBAL), Quantize.int8()),
          List.of(Quantize.of(8, true, "tensor", "mse")),
          List.of(Quantize.of(4, false, "channel", "mse")),
          List.of(Quantize.of(8, false, "group=1", "minmax")),
          List.of(Quantize.of(8, false, "group=1048575", "minmax")));

  private static final List<List<Long>> SHAPES =
      List.of(
          List.of(1L, 1L),
          List.of(3L, 5L),
          List.of(4096L, 4096L),
          List.of(100_000L, 1L),
          List.of(50_000_000L, 1L),
          List.of(1L, 1L << 31),
          List.of(8L, 300_000_007L),
          List.of(1L << 31, 3L),
          List.of(64L, 3L, 1L << 20),
          List.of(1000L, 260_000L));

  @Test
  void tilesCoverEveryElementOnceAndStaySmall() {
    int checked = 0;
    for (List<Pass> recipe : RECIPES) {
      for (List<Long> shape : SHAPES) {
        for (DType dtype : List.of(DType.F64, DType.F32, DType.BF16)) {
          TensorInfo tensor = new TensorInfo("t", dtype, shape);
          check(tensor, recipe, TileGrid.of(tensor, recipe, SIZES));
          checked++;
        }
      }
    }
    assertEquals(RECIPES.size() * SHAPES.size() * 3, checked);
  }

  private static void check(TensorInfo tensor, List<Pass> recipe, TileGrid grid) {
    String what = tensor + " " + Optimizer.recipe(recipe) + " " + grid;
    long size = tensor.dtype().bytes(1);
    assertEquals(tensor.rows(), grid.rows());
    assertEquals(tensor.cols(), grid.cols());
    // The first, second and last tiles; the others follow from the arithmetic being linear.
    long count = grid.count();
    assertTrue(count >= 1);
    assertEquals(0, grid.firstRow(0));
    assertEquals(0, grid.firstCol(0));
    long last = count - 1;
    assertEquals(tensor.rows(), grid.firstRow(last) + grid.rowCount(last), what);
    assertEquals(tensor.cols(), grid.firstCol(last) + grid.colCount(last), what);
    for (long tile : new long[] {0, Math.min(1, last), last / 2, last}) {
      long bytes = grid.rowCount(tile) * grid.colCount(tile) * size;
      assertTrue(bytes > 0 && bytes <= SIZES.largest(), what);
      for (Pass pass : recipe) {
        assertEquals(0, grid.firstCol(tile) % pass.alignment(), what);
      }
      if (tile > 0) {
        boolean nextInRow =
            grid.firstRow(tile) == grid.firstRow(tile - 1)
                && grid.firstCol(tile) == grid.firstCol(tile - 1) + grid.colCount(tile - 1);
        boolean nextRow =
            grid.firstRow(tile) == grid.firstRow(tile - 1) + grid.rowCount(tile - 1)
                && grid.firstCol(tile) == 0
                && grid.firstCol(tile - 1) + grid.colCount(tile - 1) == grid.cols();
        assertTrue(nextInRow || nextRow, what);
      }
    }
  }

  @Test
  void slicesThatFitAreHeldAsAWhole() {
    TensorInfo tensor = TensorInfo.of("t", DType.F32, 1000, 1000);
    Pass perTensor = Quantize.of(8, false, "tensor", "minmax");
    assertTrue(TileGrid.of(tensor, List.of(perTensor), SIZES).holdsTensor());
    TileGrid small = TileGrid.of(tensor, List.of(perTensor), new TileGrid.Sizes(4096, 8192));
    assertTrue(small.holdsRows() && !small.holdsTensor());
    TensorInfo wide = TensorInfo.of("t", DType.F32, 100, 100_000);
    TileGrid cut = TileGrid.of(wide, List.of(perTensor), new TileGrid.Sizes(16384, 32768));
    assertEquals(new TileGrid(100, 100_000, 1, 4096), cut);
    Pass leastError = Quantize.of(8, false, "tensor", "mse");
    TileGrid blocks = TileGrid.of(wide, List.of(leastError), new TileGrid.Sizes(40_000, 40_000));
    assertEquals(0, blocks.tileCols() % 4096);
  }

  // A tensor in one tile with scratch memory of several times its size would break the bound.
  @Test
  void scratchMemoryCounts() {
    TensorInfo tensor = TensorInfo.of("t", DType.BF16, 1000, 4000);
    Pass prune = Prune.sparsity(0.5, Prune.Scope.TENSOR);
    assertTrue(TileGrid.of(tensor, List.of(prune), SIZES).holdsTensor());
    assertTrue(TileGrid.of(tensor, List.of(prune, Quantize.int8()), SIZES).holdsTensor());
    assertTrue(!TileGrid.of(tensor, List.of(prune, Quantize.int4(2)), SIZES).holdsTensor());
  }

  @Test
  void memoryOfAllWorkersIsBounded() {
    for (int workers = 1; workers <= 16; workers++) {
      TileGrid.Sizes sizes = TileGrid.Sizes.forWorkers(workers);
      assertTrue(sizes.largest() >= 8 << 20);
      assertTrue(workers * sizes.largest() <= 192 << 20);
    }
  }

  @Test
  void groupsThatNeverComeTogetherAreRefused() {
    TensorInfo tensor = TensorInfo.of("long.weight", DType.F32, 2, 1 << 30);
    List<Pass> passes = List.of(Prune.nm(2, 4093), Quantize.of(8, false, "group=4099", "minmax"));
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> TileGrid.of(tensor, passes, SIZES));
    assertTrue(e.getMessage().contains("'long.weight'"), e.getMessage());
    assertTrue(e.getMessage().contains("powers of two"), e.getMessage());
    // Rows that fit are no problem.
    TensorInfo narrow = TensorInfo.of("t", DType.F32, 2, 100_000);
    assertTrue(TileGrid.of(narrow, passes, SIZES).holdsRows());
  }
}
