package dev.sinew.pass;

import java.util.Optional;

/** How tensors are stored that passes have touched. */
public enum Storage {
  /** All elements, one after the other. */
  DENSE,
  /**
   * The non-zero elements and a bitmap of where they are, see {@link dev.sinew.model.BitmapTensor}:
   * without loss, and smaller from about 1 zero in 8 elements of a byte on, or 1 in 32 of four
   * bytes. Not for int4, which is smaller dense than int8 with half of its elements zero, nor for
   * asymmetric integers, which store zero as the zero point.
   */
  BITMAP;

  /**
   * The storage of this name, as the option {@code --sparse-format} takes it.
   *
   * @throws IllegalArgumentException one sentence for the user
   */
  public static Storage sparse(String name) {
    if (!name.equals("bitmap")) {
      throw new IllegalArgumentException("'" + name + "' is not a sparse format; use bitmap");
    }
    return BITMAP;
  }

  /** The option of the command line that gives this storage; empty for the default. */
  public Optional<String> recipe() {
    return this == BITMAP ? Optional.of("--sparse-format bitmap") : Optional.empty();
  }
}
