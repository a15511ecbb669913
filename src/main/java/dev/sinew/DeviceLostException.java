package dev.sinew;

/**
 * A GPU has failed for good, with all tensors on it: nothing more can be computed there in this
 * process. The JVM and other devices go on.
 */
public class DeviceLostException extends IllegalStateException {
  private static final long serialVersionUID = 1;

  public DeviceLostException(String message) {
    super(message);
  }
}
