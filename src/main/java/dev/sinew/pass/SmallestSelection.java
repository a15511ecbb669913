package dev.sinew.pass;

import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.math.BigDecimal;
import java.math.RoundingMode;

/**
 * Finds the so many elements of smallest magnitude among data that is seen twice, and sets them to
 * zero while it is seen a third time: the magnitude below which everything goes, and how many of
 * those equal to it, which go in index order.
 */
final class SmallestSelection implements AutoCloseable {
  /** How often the data has to be seen before {@link #apply}. */
  static final int SWEEPS = 2;

  private final long count;
  private final RadixSelector selector;
  private float threshold;
  private long ties;
  private boolean allTies;

  /**
   * @param count how many elements go, at most all there are
   */
  SmallestSelection(long count) {
    this.count = count;
    this.selector = new RadixSelector(true, Math.max(0, count - 1));
  }

  /** floor(share x elements), with the share as the decimal number that it is written as. */
  static long share(BigDecimal share, long elements) {
    return share
        .multiply(BigDecimal.valueOf(elements))
        .setScale(0, RoundingMode.FLOOR)
        .longValueExact();
  }

  /**
   * Writes a tensor without its {@code count} smallest elements, or the mask of those that stay.
   *
   * @return how many elements are zero afterwards, or would be with the mask
   */
  static long prune(Tensor tensor, long count, Tensor out) {
    try (SmallestSelection selection = new SmallestSelection(count)) {
      for (int sweep = 0; sweep < SWEEPS; sweep++) {
        selection.observe(sweep, tensor, 0);
        selection.finish(sweep);
      }
      return Ops.pruneSmallest(tensor, selection.threshold, selection.ties, out);
    }
  }

  /** Looks at a part of the data; on many threads at once, each with its own worker number. */
  void observe(int sweep, Tensor data, int worker) {
    selector.observe(sweep, data, worker);
  }

  void finish(int sweep) {
    if (count == 0) {
      return;
    }
    selector.finish(sweep);
    if (sweep == 1) {
      threshold = selector.value(0);
      ties = count - selector.before(0);
      allTies = ties == selector.equal(0);
    }
  }

  /** Whether only zeros go, so that nothing would change. */
  boolean selectsOnlyZeros() {
    return threshold == 0;
  }

  /**
   * Prunes a part of the data in place.
   *
   * @param sequence the number of the part, in index order
   * @return how many of its elements are zero now
   */
  long apply(Tensor data, TieLedger ledger, long sequence) {
    if (allTies) {
      return Ops.pruneThreshold(data, threshold, data);
    }
    long here = 0;
    if (ties > 0) {
      long equal = Ops.magnitudeCount(data, threshold)[1];
      here = Math.max(0, Math.min(equal, ties - ledger.claim(sequence, equal)));
    }
    return Ops.pruneSmallest(data, threshold, here, data);
  }

  @Override
  public void close() {
    selector.close();
  }
}
