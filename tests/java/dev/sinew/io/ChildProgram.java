package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What tests run in a JVM of its own, to stop it in the middle or to give it little memory. */
final class ChildProgram {
  private ChildProgram() {}

  /** Starts a JVM; {@code prefix} is what a shell puts before the command, or nothing. */
  static Process start(String heap, String mode, Path file, String... prefix) throws IOException {
    List<String> command = new ArrayList<>(List.of(prefix));
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:TieredStopAtLevel=1", "-Xmx" + heap, "-cp"));
    command.add(System.getProperty("java.class.path"));
    command.addAll(List.of(ChildProgram.class.getName(), mode, file.toString()));
    return new ProcessBuilder(command).redirectErrorStream(true).start();
  }

  /** Arguments: what to do, and the file. */
  public static void main(String[] arguments) throws IOException {
    Path file = Path.of(arguments[1]);
    try {
      switch (arguments[0]) {
        case "write" -> writeForever(file);
        case "create" -> createForever(file);
        case "open" -> SafeTensors.open(file).close();
        case "open-folder" -> {
          try (ModelFolder folder = ModelFolder.open(file)) {
            System.out.println(folder.tensors().size() + " tensors");
          }
        }
        default -> throw new IllegalArgumentException(arguments[0]);
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
