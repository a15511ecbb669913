package dev.sinew;

import static dev.sinew.NativeCall.call;
import static dev.sinew.NativeCall.callMany;

import dev.sinew.internal.SinewNative;
import dev.sinew.internal.sn_tensor;
import java.util.List;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * The operations on tensors. Each runs on the device of its first tensor and returns when the
 * result is complete.
 *
 * <p>Operations see a tensor as a matrix [rows, cols], see {@link Tensor#rows}. Outputs are the
 * caller's; an output may be the input itself where "in place" is said. Elementwise results are
 * bit-identical on every instruction set and for every number of threads; docs/numerics.md has the
 * rules. Wrong shapes, dtypes or values are {@link IllegalArgumentException}, NaN or infinity where
 * numbers are needed {@link NotFiniteException}, closed tensors and devices {@link
 * IllegalStateException}. Safe for use by many threads.
 *
 * <p>A <i>slice</i> is what shares one scale: the whole tensor (scales of one element with {@code
 * group} 0), a row ({@code group} 0), or {@code group} consecutive elements of a row, of which the
 * last may be fewer.
 */
public final class Ops {
  private Ops() {}

  private interface ArrayCall {
    int run(PointerPointer<sn_tensor> array, FloatPointer weights, sn_tensor first, sn_tensor last);
  }

  // As callMany, for an array of tensors with a weight each, between two others. The device is that
  // of `first`, or if there is none that of the array's first tensor.
  private static void callArray(
      Tensor first, List<Tensor> array, float[] weights, Tensor last, ArrayCall call) {
    int count = array.size();
    if (count != weights.length) {
      throw new IllegalArgumentException(
          weights.length + " weights were given for " + count + " tensors");
    }
    Tensor[] tensors = new Tensor[count + 2];
    for (int i = 0; i < count; i++) {
      tensors[i + 1] = array.get(i);
    }
    tensors[count + 1] = last;
    // The first of all has to be there.
    tensors[0] = first != null || count == 0 ? first : array.get(0);
    if (tensors[0] == null) {
      throw new IllegalArgumentException("a tensor is missing: there have to be 1 to 64");
    }
    callMany(
        pointers -> {
          try (PointerPointer<sn_tensor> addresses = new PointerPointer<>(Math.max(1, count));
              FloatPointer factors = new FloatPointer(weights)) {
            for (int i = 0; i < count; i++) {
              addresses.put(i, pointers[i + 1]);
            }
            return call.run(addresses, factors, pointers[0], pointers[count + 1]);
          }
        },
        tensors);
  }

  /**
   * Hard shrinkage: {@code out = |x| > threshold ? x : 0}, compared in F32. In place allowed.
   *
   * @param out of x's dtype and shape, or BOOL of x's shape to get a mask (1 = kept)
   * @return how many elements are zero afterwards, or would be with the mask
   */
  public static long pruneThreshold(Tensor x, float threshold, Tensor out) {
    long[] zeros = new long[1];
    call(
        x,
        out,
        null,
        null,
        (px, po, c, d) -> SinewNative.sn_prune_threshold(px, threshold, po, zeros));
    return zeros[0];
  }

  /**
   * Prunes every element of magnitude below {@code threshold}, and of those equal to it the first
   * {@code ties} in index order. Output and result as in {@link #pruneThreshold}.
   */
  public static long pruneSmallest(Tensor x, float threshold, long ties, Tensor out) {
    long[] zeros = new long[1];
    call(
        x,
        out,
        null,
        null,
        (px, po, c, d) -> SinewNative.sn_prune_smallest(px, threshold, ties, po, zeros));
    return zeros[0];
  }

  /**
   * N:M sparsity: of every {@code m} consecutive elements of a row the {@code n} of largest
   * magnitude stay, and of equal ones the first are pruned; a tail of r elements loses {@code
   * floor(r (m - n) / m)}. Output and result as in {@link #pruneThreshold}.
   *
   * @param m at most 4096
   */
  public static long pruneNM(Tensor x, int n, int m, Tensor out) {
    long[] zeros = new long[1];
    call(x, out, null, null, (px, po, c, d) -> SinewNative.sn_prune_nm(px, n, m, po, zeros));
    return zeros[0];
  }

  /**
   * Adds counts of magnitude keys (F32 bits without the sign) to {@code histogram}, I64 [65536]: of
   * {@code key >> 16} if {@code prefix < 0}, else of {@code key & 0xffff} among elements whose
   * {@code key >> 16} is the prefix.
   */
  public static void magnitudeHistogram(Tensor x, int prefix, Tensor histogram) {
    histogram(x, SinewNative.SN_ORDER_MAGNITUDE, prefix, histogram);
  }

  /**
   * As {@link #magnitudeHistogram} for values with their sign: the key is the F32 bits with the
   * sign bit flipped, and all bits inverted for negative values, so that keys order as values do.
   */
  public static void valueKeyHistogram(Tensor x, int prefix, Tensor histogram) {
    histogram(x, SinewNative.SN_ORDER_VALUE, prefix, histogram);
  }

  private static void histogram(Tensor x, int order, int prefix, Tensor histogram) {
    call(
        x,
        histogram,
        null,
        null,
        (px, ph, c, d) -> SinewNative.sn_key_histogram(px, order, prefix, ph));
  }

  /** How many elements have a magnitude below and equal to the threshold, in this order. */
  public static long[] magnitudeCount(Tensor x, float threshold) {
    long[] less = new long[1];
    long[] equal = new long[1];
    call(
        x,
        null,
        null,
        null,
        (px, b, c, d) -> SinewNative.sn_magnitude_count(px, threshold, less, equal));
    return new long[] {less[0], equal[0]};
  }

  /**
   * The range [lo, hi] of every slice, always with 0 inside; {@code lo = -hi} for symmetric
   * schemes.
   *
   * @param percentile for {@link RangeMethod#PERCENTILE}, above 0 and at most 100; else ignored
   * @param lo F32 with one element a slice, as {@code hi}
   */
  public static void range(
      Tensor x,
      long group,
      QuantScheme scheme,
      RangeMethod method,
      float percentile,
      Tensor lo,
      Tensor hi) {
    call(
        x,
        lo,
        hi,
        null,
        (px, pl, ph, d) ->
            SinewNative.sn_range(
                px, group, scheme.ordinal(), method.ordinal(), percentile, pl, ph));
  }

  /**
   * Scale and zero point of ranges. An empty range has scale 1.
   *
   * @param scale F32, as many elements as {@code lo}
   * @param zeroPoint I8, as many; null for symmetric schemes
   */
  public static void scale(
      Tensor lo, Tensor hi, QuantScheme scheme, Tensor scale, Tensor zeroPoint) {
    call(
        lo,
        hi,
        scale,
        zeroPoint,
        (pl, ph, ps, pz) -> SinewNative.sn_scale(pl, ph, scheme.ordinal(), ps, pz));
  }

  /**
   * {@code q = clamp(round_half_even(x / scale) + zero_point)}; for fp8 the nearest number of E4M3,
   * ties to even, within [-448, 448].
   *
   * @param zeroPoint I8 like the scale, or null for the symmetric scheme and for fp8
   * @param q I8 of as many elements (int8), F8_E4M3 of as many (fp8), or U8 [rows, ceil(cols / 2)]
   *     (int4: low nibble first, stored as q + 8)
   */
  public static void quantize(Tensor x, Tensor scale, Tensor zeroPoint, long group, Tensor q) {
    call(
        x, scale, zeroPoint, q, (px, ps, pz, pq) -> SinewNative.sn_quantize(px, ps, pz, group, pq));
  }

  /**
   * {@code y = (q - zero_point) * scale} in y's floating dtype; layouts as in {@link #quantize}.
   */
  public static void dequantize(Tensor q, Tensor scale, Tensor zeroPoint, long group, Tensor y) {
    call(
        q,
        scale,
        zeroPoint,
        y,
        (pq, ps, pz, py) -> SinewNative.sn_dequantize(pq, ps, pz, group, py));
  }

  /**
   * Quantizes and dequantizes in one pass, without storing integers. In place allowed; NaN stays
   * NaN.
   */
  public static void fakeQuantize(
      Tensor x, Tensor scale, Tensor zeroPoint, long group, QuantScheme scheme, Tensor y) {
    call(
        x,
        scale,
        zeroPoint,
        y,
        (px, ps, pz, py) -> SinewNative.sn_fake_quantize(px, ps, pz, group, scheme.ordinal(), py));
  }

  /**
   * The squared error of quantizing all of x with each of c candidates, block by block.
   *
   * @param errors F64 [rows x ceil(cols / 4096), c]
   */
  public static void quantizationError(
      Tensor x, Tensor scale, Tensor zeroPoint, QuantScheme scheme, Tensor errors) {
    call(
        x,
        scale,
        zeroPoint,
        errors,
        (px, ps, pz, pe) -> SinewNative.sn_quantization_error(px, ps, pz, scheme.ordinal(), pe));
  }

  /**
   * Merges models linearly: {@code out = w[0] x[0] + w[1] x[1] + ...}, summed in F32 in this order,
   * or with a base {@code out = base + (w[0] (x[0] - base) + w[1] (x[1] - base) + ...)}, which is
   * task arithmetic (Ilharco et al., "Editing models with task arithmetic", 2023). In place allowed
   * with any of the tensors.
   *
   * @param x 1 to 64 tensors of one floating dtype, which is out's or F32, with as many elements
   * @param weights finite, one a tensor
   * @param base like x; null to sum the tensors themselves
   * @throws NotFiniteException if a tensor holds NaN or infinity, or a result is too large for out
   */
  public static void weightedSum(List<Tensor> x, float[] weights, Tensor base, Tensor out) {
    callArray(
        base,
        x,
        weights,
        out,
        (array, factors, first, po) ->
            SinewNative.sn_weighted_sum(array, x.size(), factors, base == null ? null : first, po));
  }

  /**
   * A task vector: {@code difference = x - base}, both of one floating dtype.
   *
   * @param difference F32; in place allowed if the others are F32 too
   * @throws NotFiniteException if a tensor holds NaN or infinity, or a difference is too large
   */
  public static void difference(Tensor x, Tensor base, Tensor difference) {
    call(x, base, difference, null, (px, pb, pd, d) -> SinewNative.sn_difference(px, pb, pd));
  }

  /**
   * Merges task vectors by TIES (Yadav et al., "TIES-merging: resolving interference when merging
   * models", 2023). With {@code v[i] = w[i] difference[i]} and s the sign of their sum, 0 counting
   * as positive: {@code out = base + lambda * sum}, the sum being that of the v[i] of sign s, if
   * {@code normalize} divided by the sum of their weights.
   *
   * @param base of out's dtype or F32
   * @param differences 1 to 64, F32, trimmed elements 0
   * @param weights finite, one a difference, none negative if {@code normalize}
   * @throws NotFiniteException as {@link #weightedSum}
   */
  public static void mergeTies(
      Tensor base,
      List<Tensor> differences,
      float[] weights,
      float lambda,
      boolean normalize,
      Tensor out) {
    callArray(
        base,
        differences,
        weights,
        out,
        (array, factors, pb, po) ->
            SinewNative.sn_merge_ties(
                pb, array, weights.length, factors, lambda, normalize ? 1 : 0, po));
  }

  /**
   * Merges as {@link #weightedSum} with a base, but of each x[i] only elements that a random number
   * keeps, with the probability {@code density}: DARE (Yu et al., "Language models are super
   * Mario", 2024). The number is a word of Philox4x32-10 that depends on the seed, the tensor's
   * stream and the element's number alone; docs/numerics.md has the rule.
   *
   * @param weights finite, one a tensor, with the factor {@code 1 / density}
   * @param density above 0 and at most 1
   * @param streams one a tensor
   * @param first the number of the first element, a multiple of 64
   * @throws NotFiniteException as {@link #weightedSum}, dropped elements included
   */
  public static void mergeDare(
      Tensor base,
      List<Tensor> x,
      float[] weights,
      double density,
      long seed,
      long[] streams,
      long first,
      Tensor out) {
    if (streams.length != x.size()) {
      throw new IllegalArgumentException(
          streams.length + " streams were given for " + x.size() + " tensors");
    }
    try (LongPointer numbers = new LongPointer(streams)) {
      callArray(
          base,
          x,
          weights,
          out,
          (array, factors, pb, po) ->
              SinewNative.sn_merge_dare(
                  pb, array, x.size(), factors, density, seed, numbers, first, po));
    }
  }

  /**
   * {@code sum a^2}, {@code sum b^2} and {@code sum a b} of every block of 4096 elements, in
   * float64, for the angle between tensors that are seen in parts.
   *
   * @param b of a's dtype
   * @param sums F64 [ceil(elements / 4096), 3]
   * @throws NotFiniteException if a tensor holds NaN or infinity
   */
  public static void blockProducts(Tensor a, Tensor b, Tensor sums) {
    call(a, b, sums, null, (pa, pb, ps, d) -> SinewNative.sn_block_products(pa, pb, ps));
  }

  /**
   * The index of the codebook's entry that is nearest to each element, of equally near ones the
   * first.
   *
   * @param codebook F32 with 2^b finite entries, b from 2 to 8, in ascending order
   * @param q U8 [rows, ceil(cols b / 8)], indices of b bits from the lowest on; rows are padded
   *     with zero bits
   */
  public static void clusterAssign(Tensor x, Tensor codebook, Tensor q) {
    call(x, codebook, q, null, (px, pc, pq, d) -> SinewNative.sn_cluster_assign(px, pc, pq));
  }

  /**
   * Adds up the elements that belong to each entry, as {@link #clusterAssign} finds it, exactly.
   *
   * @param sums I64 [2^b, 32], added to: the digits of a number in base 256 and units of 2^-149,
   *     the lowest first; afterwards all but the last are from 0 to 255
   * @param counts I64 [2^b], added to
   */
  public static void clusterSums(Tensor x, Tensor codebook, Tensor sums, Tensor counts) {
    call(
        x, codebook, sums, counts, (px, pc, ps, pn) -> SinewNative.sn_cluster_sums(px, pc, ps, pn));
  }

  /**
   * {@code y = codebook[q]} in y's floating dtype; layouts as in {@link #clusterAssign}, entries of
   * any value in any order.
   */
  public static void clusterDecode(Tensor q, Tensor codebook, Tensor y) {
    call(q, codebook, y, null, (pq, pc, py, d) -> SinewNative.sn_cluster_decode(pq, pc, py));
  }

  /**
   * Min, max, absmax and sum of the finite values, then the numbers of zeros, NaN, +infinity and
   * -infinity. Any dtype that a tensor holds. Without finite values min and max are NaN.
   *
   * @param result F64 [8]
   */
  public static void statistics(Tensor x, Tensor result) {
    call(x, result, null, null, (px, pr, c, d) -> SinewNative.sn_statistics(px, pr));
  }

  /**
   * Adds to {@code counts}, I64, how many finite elements fall in each of its equal parts of [lo,
   * hi].
   */
  public static void valueHistogram(Tensor x, double lo, double hi, Tensor counts) {
    call(x, counts, null, null, (px, pc, c, d) -> SinewNative.sn_value_histogram(px, lo, hi, pc));
  }

  /**
   * {@code max |a - b|, sum (a - b)^2, sum a^2, sum b^2, sum a b}, leaving out pairs with NaN or
   * infinity.
   *
   * @param result F64 [5]
   */
  public static void compare(Tensor a, Tensor b, Tensor result) {
    call(a, b, result, null, (pa, pb, pr, d) -> SinewNative.sn_compare(pa, pb, pr));
  }

  /** {@code y = x} in y's dtype, both floating, rounding to nearest even. */
  public static void convert(Tensor x, Tensor y) {
    call(x, y, null, null, (px, py, c, d) -> SinewNative.sn_convert(px, py));
  }

  /** How many elements are not zero, that is, have any bit set; -0 is not zero. Any dtype. */
  public static long countNonzeros(Tensor x) {
    long[] count = new long[1];
    call(x, null, null, null, (px, b, c, d) -> SinewNative.sn_count_nonzeros(px, count));
    return count[0];
  }

  /**
   * Separates a matrix of any dtype into its non-zero elements in row-major order and a bitmap of
   * where they are. An element is zero when all of its bits are, so nothing is lost.
   *
   * @param first what {@code rowOffsets} begins with: the number of values before this matrix when
   *     it is a part of a larger one
   * @param values of x's dtype, with exactly as many elements as x has that are not zero, see
   *     {@link #countNonzeros}; otherwise {@link IllegalArgumentException}, and outputs are
   *     unspecified
   * @param bitmap U8 [rows, ceil(cols / 8)]: bit i (1 &lt;&lt; i) of byte b of a row is set where
   *     column 8 b + i is not zero
   * @param rowOffsets I64 [rows + 1]: where in the values each row begins, then where the last ends
   */
  public static void bitmapEncode(
      Tensor x, long first, Tensor values, Tensor bitmap, Tensor rowOffsets) {
    call(
        x,
        values,
        bitmap,
        rowOffsets,
        (px, pv, pb, po) -> SinewNative.sn_bitmap_encode(px, first, pv, pb, po));
  }

  /**
   * The matrix y from what {@link #bitmapEncode} has made of it. If values, bitmap and offsets do
   * not agree it is an {@link IllegalArgumentException}, with y unspecified.
   *
   * @param rowOffsets may begin at any number, that of the first value
   * @param y of the values' dtype
   */
  public static void bitmapDecode(Tensor values, Tensor bitmap, Tensor rowOffsets, Tensor y) {
    call(
        values,
        bitmap,
        rowOffsets,
        y,
        (pv, pb, po, py) -> SinewNative.sn_bitmap_decode(pv, pb, po, py));
  }

  /**
   * Reads all of x and writes all of y once, as the elementwise kernels do: the ceiling for
   * benchmarks.
   */
  public static void memoryProbe(Tensor x, Tensor y) {
    call(x, y, null, null, (px, py, c, d) -> SinewNative.sn_memory_probe(px, py));
  }
}
