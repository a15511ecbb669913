package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;

/** Why a pickle is refused: the end of a sentence that begins with the file. */
final class PickleException extends Exception {
  PickleException(String message) {
    super(message);
  }

  /** The whole sentence, for a pickle that has been read up to where {@code in} is now. */
  CheckpointException at(PickleInput in) {
    return new CheckpointException(
        "cannot read "
            + Messages.quote(in.file().path())
            + ": near byte "
            + in.position()
            + " of "
            + in.where()
            + " "
            + getMessage());
  }

  /** A pickle that Python would not have written. */
  static PickleException damaged(String what) {
    return new PickleException(
        what + "; the file is damaged or no checkpoint, so get or save it again");
  }
}
