package dev.sinew;

/** How the range of real values that a slice's integers cover is chosen; see {@link Ops#range}. */
public enum RangeMethod {
  /** The extremes, so that nothing is clipped. */
  MINMAX,
  /** Nearest-rank percentiles, which clip outliers. */
  PERCENTILE,
  /** Of the extremes times 1.00, 0.99, ... 0.40, the range of least squared error. */
  MSE
}
