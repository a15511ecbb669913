package dev.sinew;

/**
 * NaN or infinity where an operation needs numbers, for example in a tensor that is to be pruned or
 * quantized.
 */
public class NotFiniteException extends ArithmeticException {
  public NotFiniteException(String message) {
    super(message);
  }
}
