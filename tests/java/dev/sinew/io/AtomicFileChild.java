package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/** The program that AtomicFileTest starts in a JVM of its own, to stop it in the middle. */
final class AtomicFileChild {
  private AtomicFileChild() {}

  /** Arguments: what to do without end, and the target. */
  public static void main(String[] arguments) throws IOException {
    Path target = Path.of(arguments[1]);
    try {
      if (arguments[0].equals("write")) {
        writeForever(target);
      } else {
        createForever(target);
      }
    } catch (CheckpointException e) {
      System.out.println(e.getMessage());
      System.exit(1);
    }
  }

  private static void writeForever(Path target) throws IOException {
    try (AtomicFile file = AtomicFile.create(target, false)) {
      file.write(0, ByteBuffer.allocate(1000));
      System.out.println("writing");
      for (long i = 0; ; i++) {
        // At most 16 MiB on the disk.
        file.write(i % 256 << 16, ByteBuffer.allocate(1 << 16));
      }
    }
  }

  private static void createForever(Path target) throws IOException {
    for (long i = 0; ; i++) {
      try (AtomicFile file = AtomicFile.create(target, true)) {
        file.write(0, ByteBuffer.allocate(1));
      }
      if (i == 100) {
        System.out.println("creating");
      }
    }
  }
}
