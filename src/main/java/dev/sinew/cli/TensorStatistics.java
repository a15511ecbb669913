package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;

/**
 * What {@link Ops#statistics} finds, over as many pieces of a tensor as were added. Not safe for
 * use by several threads.
 */
final class TensorStatistics implements AutoCloseable {
  private final Tensor result = Tensor.allocate(Device.cpu(), DType.F64, 8);
  private long elements;
  private double min = Double.NaN;
  private double max = Double.NaN;
  private double absMax;
  private double sum;
  private long zeros;
  private long nan;
  private long infinities;

  void add(Tensor piece) {
    Ops.statistics(piece, result);
    double[] found = result.toDoubles();
    elements += piece.elements();
    // A piece without finite values has NaN here, which must not hide the others'.
    min = Double.isNaN(min) ? found[0] : Double.isNaN(found[0]) ? min : Math.min(min, found[0]);
    max = Double.isNaN(max) ? found[1] : Double.isNaN(found[1]) ? max : Math.max(max, found[1]);
    absMax = Math.max(absMax, found[2]);
    sum += found[3];
    zeros += (long) found[4];
    nan += (long) found[5];
    infinities += (long) found[6] + (long) found[7];
  }

  /** The least finite value; NaN if there is none. */
  double min() {
    return min;
  }

  /** The greatest finite value; NaN if there is none. */
  double max() {
    return max;
  }

  /** The greatest magnitude of the finite values; NaN if there is none. */
  double absMax() {
    return Double.isNaN(max) ? Double.NaN : absMax;
  }

  /** The mean of the finite values; NaN if there is none. */
  double mean() {
    return sum / (elements - nan - infinities);
  }

  long zeros() {
    return zeros;
  }

  /** The share of zeros among all elements; NaN without elements. */
  double sparsity() {
    return (double) zeros / elements;
  }

  long nan() {
    return nan;
  }

  /** Elements that are infinite, of either sign. */
  long infinities() {
    return infinities;
  }

  @Override
  public void close() {
    result.close();
  }
}
