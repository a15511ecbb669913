package dev.sinew.io;

/** Why a pickle is refused: the end of a sentence that begins with the file. */
final class PickleException extends Exception {
  PickleException(String message) {
    super(message);
  }

  /** A pickle that Python would not have written. */
  static PickleException damaged(String what) {
    return new PickleException(
        what + "; the file is damaged or no checkpoint, so get or save it again");
  }
}
