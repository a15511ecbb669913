package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The checkpoint formats that can be read. A file's format is recognised by its content; its name
 * does not matter.
 */
public enum CheckpointFormat {
  /** {@link SafeTensors}. */
  SAFETENSORS(SafeTensors::open),
  /** {@link PyTorchCheckpoint}: what {@code torch.save} of any release has written. */
  PYTORCH(PyTorchCheckpoint::open);

  private interface Opener {
    Checkpoint open(InputFile file, HeapBudget budget) throws IOException;
  }

  private final Opener opener;

  CheckpointFormat(Opener opener) {
    this.opener = opener;
  }

  /**
   * Opens a checkpoint of any known format for reading: a file, or the folder of a model ({@link
   * ModelFolder}).
   *
   * @throws CheckpointException one sentence that names the file: it cannot be opened, is damaged,
   *     or is in no known format (then the sentence says what it seems to be and what to do)
   */
  public static Checkpoint open(Path path) throws IOException {
    if (Files.isDirectory(path)) {
      return ModelFolder.open(path);
    }
    InputFile file = InputFile.open(path);
    return open(file, HeapBudget.of(path, file.size()));
  }

  /** As {@link #open(Path)}; closing the checkpoint closes the file, and so does a failure. */
  static Checkpoint open(InputFile file, HeapBudget budget) throws IOException {
    CheckpointFormat format;
    try {
      format = recognize(file);
    } catch (IOException | RuntimeException | Error e) {
      file.close();
      throw e;
    }
    return format.opener.open(file, budget);
  }

  /**
   * Looks at the first bytes of a file; what it finds may still turn out to be damaged.
   *
   * @throws CheckpointException as {@link #open}
   */
  public static CheckpointFormat recognize(Path path) throws CheckpointException {
    try (InputFile file = InputFile.open(path)) {
      return recognize(file);
    }
  }

  private static CheckpointFormat recognize(InputFile file) throws CheckpointException {
    byte[] start = file.start();
    if (isSafeTensors(start)) {
      return SAFETENSORS;
    }
    if (PyTorchCheckpoint.recognizes(file, start)) {
      return PYTORCH;
    }
    throw new CheckpointException(
        Messages.quote(file.path()) + " " + ForeignFormat.describe(start, file.size()));
  }

  /** A header length within the limit, and a header that begins as it must. */
  private static boolean isSafeTensors(byte[] start) {
    if (start.length <= SafeTensorsHeader.LENGTH_BYTES) {
      return false;
    }
    long length = ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getLong();
    return length > 0
        && length <= SafeTensorsHeader.MAX_BYTES
        && start[SafeTensorsHeader.LENGTH_BYTES] == '{';
  }
}
