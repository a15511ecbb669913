package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * How much a tensor b differs from a tensor a of the same shape.
 *
 * <p>Errors are taken in float64 over the pairs of which both are finite.
 *
 * @param floating whether both are of floating dtypes, so that the error is known; else only {@link
 *     #equal} says something
 * @param equal whether the values are the same: of floating dtypes as numbers (so that 0 equals -0,
 *     and NaN equals NaN), of others byte for byte
 * @param maxAbsError the greatest |a - b|
 * @param noise the sum of (a - b)^2
 * @param signal the sum of a^2
 * @param signalB the sum of b^2
 * @param product the sum of a b
 * @param notFiniteA elements of a that are NaN or infinite
 * @param notFiniteB elements of b that are NaN or infinite
 */
record TensorComparison(
    boolean floating,
    boolean equal,
    double maxAbsError,
    double noise,
    double signal,
    double signalB,
    double product,
    long notFiniteA,
    long notFiniteB) {

  /** 10 log10(signal / noise); infinite without noise, NaN without finite values. */
  double snrDecibels() {
    return noise == 0 ? Double.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
  }

  /** The cosine of the angle between a and b; NaN if one of them is zero. */
  double cosine() {
    return Math.max(-1, Math.min(1, product / (Math.sqrt(signal) * Math.sqrt(signalB))));
  }

  /** All of both models as one vector. */
  TensorComparison plus(TensorComparison other) {
    return new TensorComparison(
        floating || other.floating,
        equal && other.equal,
        Math.max(maxAbsError, other.maxAbsError),
        noise + other.noise,
        signal + other.signal,
        signalB + other.signalB,
        product + other.product,
        notFiniteA + other.notFiniteA,
        notFiniteB + other.notFiniteB);
  }

  /** Nothing compared yet. */
  static TensorComparison none() {
    return new TensorComparison(false, true, 0, 0, 0, 0, 0, 0, 0);
  }

  /** Whether two tensors can be compared: the same shape, and both floating or of one dtype. */
  static boolean isPossible(TensorInfo a, TensorInfo b) {
    return a.shape().equals(b.shape())
        && (a.dtype() == b.dtype() || (a.dtype().isFloating() && b.dtype().isFloating()));
  }

  /** Reads both tensors piece by piece. */
  static final class Reader {
    private final TensorReader readerA = new TensorReader();
    private final TensorReader readerB = new TensorReader();

    /** Compares two tensors for which {@link #isPossible} holds. */
    TensorComparison compare(Checkpoint a, TensorInfo infoA, Checkpoint b, TensorInfo infoB)
        throws IOException {
      boolean floating = infoA.dtype().isFloating();
      TensorComparison total = none();
      for (long first = 0; first < infoA.elements(); first += TensorReader.PIECE) {
        ByteBuffer pieceA = readerA.read(a, infoA, first);
        ByteBuffer pieceB = readerB.read(b, infoB, first);
        total =
            total.plus(
                floating
                    ? compare(pieceA, infoA.dtype(), pieceB, infoB.dtype())
                    : new TensorComparison(false, pieceA.equals(pieceB), 0, 0, 0, 0, 0, 0, 0));
      }
      return floating ? total.plus(new TensorComparison(true, true, 0, 0, 0, 0, 0, 0, 0)) : total;
    }

    private static TensorComparison compare(
        ByteBuffer pieceA, DType typeA, ByteBuffer pieceB, DType typeB) {
      boolean sameBytes = typeA == typeB && pieceA.equals(pieceB);
      try (Tensor a = TensorReader.wrap(pieceA, typeA);
          Tensor b = TensorReader.wrap(pieceB, typeB);
          Tensor result = Tensor.allocate(Device.cpu(), DType.F64, 5);
          TensorStatistics ofA = new TensorStatistics();
          TensorStatistics ofB = new TensorStatistics()) {
        Ops.compare(a, b, result);
        double[] found = result.toDoubles();
        ofA.add(a);
        ofB.add(b);
        long notFiniteA = ofA.nan() + ofA.infinities();
        long notFiniteB = ofB.nan() + ofB.infinities();
        return new TensorComparison(
            true,
            sameBytes || (found[0] == 0 && notFiniteA == 0 && notFiniteB == 0),
            found[0],
            found[1],
            found[2],
            found[3],
            found[4],
            notFiniteA,
            notFiniteB);
      }
    }
  }
}
