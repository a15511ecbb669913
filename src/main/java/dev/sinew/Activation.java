package dev.sinew;

/** What a layer applies to each element v of its result. */
public enum Activation {
  /** v itself. */
  NONE,
  /** {@code max(v, 0)}. */
  RELU,
  /** {@code v (1 + erf(v / sqrt 2)) / 2}. */
  GELU,
  /** {@code v / (1 + exp(-v))}, also called swish. */
  SILU,
  /** {@code v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3))) / 2}. */
  GELU_TANH,
  /** {@code 1 / (1 + exp(-v))}. */
  SIGMOID,
  TANH
}
