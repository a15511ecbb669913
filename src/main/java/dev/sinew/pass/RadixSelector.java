package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Finds the elements of given ranks among data that is seen twice: the first level counts the upper
 * 16 bits of keys, the second the lower 16 bits of those that share a rank's upper ones. BF16 data
 * has nothing in the lower bits and need not be seen again.
 *
 * <p>{@link #observe} may run on many threads, each with its own worker number; histograms are kept
 * once a worker, on the device of its data.
 */
final class RadixSelector implements AutoCloseable {
  private static final int BINS = 1 << 16;

  private final boolean byMagnitude;
  private final long[] ranks;
  private final int[] prefixes;
  private final int[] keys;
  private final long[] before;
  private final long[] equal;
  private final Map<String, Tensor> histograms = new ConcurrentHashMap<>();
  private long[] narrow = new long[BINS];

  /**
   * @param byMagnitude whether keys order magnitudes; otherwise values with their sign
   * @param ranks positions in ascending order, from 0
   */
  RadixSelector(boolean byMagnitude, long... ranks) {
    this.byMagnitude = byMagnitude;
    this.ranks = ranks;
    prefixes = new int[ranks.length];
    keys = new int[ranks.length];
    before = new long[ranks.length];
    equal = new long[ranks.length];
  }

  /** Whether the second level has to see data of this type. */
  static boolean needsSecondLevel(DType dtype) {
    return dtype != DType.BF16;
  }

  void observe(int level, Tensor data, int worker) {
    boolean isNarrow = !needsSecondLevel(data.dtype());
    if (level == 0) {
      count(data, -1, worker + (isNarrow ? " narrow" : " wide"));
    } else if (!isNarrow) {
      for (int i = 0; i < ranks.length; i++) {
        if (i == 0 || prefixes[i] != prefixes[i - 1]) {
          count(data, prefixes[i], worker + " low " + i);
        }
      }
    }
  }

  private void count(Tensor data, int prefix, String key) {
    Tensor histogram =
        histograms.computeIfAbsent(key, k -> Tensor.allocate(data.device(), DType.I64, BINS));
    if (byMagnitude) {
      Ops.magnitudeHistogram(data, prefix, histogram);
    } else {
      Ops.valueKeyHistogram(data, prefix, histogram);
    }
  }

  void finish(int level) {
    if (level == 0) {
      narrow = sum(" narrow");
      long[] top = sum(" wide");
      for (int b = 0; b < BINS; b++) {
        top[b] += narrow[b];
      }
      for (int i = 0; i < ranks.length; i++) {
        prefixes[i] = find(top, ranks[i], i);
      }
      clear();
      return;
    }
    long[] low = null;
    for (int i = 0; i < ranks.length; i++) {
      if (i == 0 || prefixes[i] != prefixes[i - 1]) {
        low = sum(" low " + i);
        // The lower half of a BF16 value's key: zeros, inverted with the rest when the value is
        // negative.
        boolean inverted = !byMagnitude && prefixes[i] < BINS / 2;
        low[inverted ? BINS - 1 : 0] += narrow[prefixes[i]];
      }
      long above = before[i];
      int bin = find(low, ranks[i] - above, i);
      before[i] += above;
      equal[i] = low[bin];
      keys[i] = prefixes[i] << 16 | bin;
    }
    clear();
  }

  // The bin that holds the element of this rank; sets before[i] to the number of elements in the
  // bins below.
  private int find(long[] bins, long rank, int i) {
    long below = 0;
    int bin = 0;
    while (below + bins[bin] <= rank) {
      below += bins[bin++];
    }
    before[i] = below;
    return bin;
  }

  private long[] sum(String suffix) {
    long[] total = new long[BINS];
    histograms.forEach(
        (key, histogram) -> {
          if (key.endsWith(suffix)) {
            long[] counts = histogram.toLongs();
            for (int b = 0; b < BINS; b++) {
              total[b] += counts[b];
            }
          }
        });
    return total;
  }

  /** The value of the element with the i-th rank, after both levels. */
  float value(int i) {
    int key = keys[i];
    if (byMagnitude) {
      return Float.intBitsToFloat(key);
    }
    return Float.intBitsToFloat(key < 0 ? key ^ Integer.MIN_VALUE : ~key);
  }

  /** How many elements have a smaller key than the one of the i-th rank. */
  long before(int i) {
    return before[i];
  }

  /** How many elements have the key of the one of the i-th rank. */
  long equal(int i) {
    return equal[i];
  }

  private void clear() {
    histograms.values().forEach(Tensor::close);
    histograms.clear();
  }

  @Override
  public void close() {
    clear();
  }
}
