package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.CheckpointException;
import java.nio.file.Path;
import java.time.Duration;

/** What the user is told about a file that is refused. */
final class Refusal {
  private Refusal() {}

  /** The message, after checks that it came soon, is one line and names the file. */
  static String of(Path path, String... parts) {
    CheckpointException e =
        assertTimeoutPreemptively(
            Duration.ofSeconds(30),
            () ->
                assertThrows(
                    CheckpointException.class, () -> PyTorchCheckpoint.open(path).close()));
    String message = e.getMessage();
    assertTrue(message.startsWith("cannot read "), message);
    assertTrue(message.contains("'" + path + "'"), message);
    assertFalse(message.chars().anyMatch(Character::isISOControl), message);
    assertFalse(message.endsWith("."), message);
    assertTrue(message.length() < 1000, message);
    for (String part : parts) {
      assertTrue(message.contains(part), "'" + part + "' is not in: " + message);
    }
    return message;
  }
}
