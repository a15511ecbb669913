package dev.sinew.io;

/** Why a pickle is refused: the end of a sentence that begins with the file. */
final class PickleException extends Exception {
  PickleException(String message) {
    super(message);
  }
}
