package dev.sinew.collective;

import dev.sinew.internal.SinewNative;

/** How the elements of all ranks become one. */
public enum ReduceOp {
  /**
   * Of floats an F32 sum in the order of the ranks, rounded to the dtype once; of integers the
   * exact sum, which saturates where it does not fit.
   */
  SUM(SinewNative.SN_SUM),
  /** The sum over the number of ranks; of integers the exact quotient, rounded half to even. */
  AVERAGE(SinewNative.SN_AVERAGE),
  /** Of equal zeros the first rank's. */
  MIN(SinewNative.SN_MIN),
  /** Of equal zeros the first rank's. */
  MAX(SinewNative.SN_MAX);

  private final int code;

  ReduceOp(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }
}
