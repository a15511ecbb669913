package dev.sinew.model;

import java.io.IOException;

/**
 * A checkpoint that cannot be read or written; the message is one sentence for the user that names
 * the file.
 */
public class CheckpointException extends IOException {
  public CheckpointException(String message) {
    super(message);
  }

  public CheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
