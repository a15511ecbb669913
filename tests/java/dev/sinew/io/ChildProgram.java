package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

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
  public static void main(String[] arguments) throws IOException, InterruptedException {
    Path file = Path.of(arguments[1]);
    try {
      switch (arguments[0]) {
        case "write" -> writeForever(file);
        case "create" -> createForever(file);
        case "open" -> SafeTensors.open(file).close();
        case "write-folder" -> writeFolderForever(file);
        case "open-folder" -> {
          try (ModelFolder folder = ModelFolder.open(file)) {
            System.out.println(folder.tensors().size() + " tensors");
          }
        }
        default -> throw new IllegalArgumentException(arguments[0]);
      }
    } catch (CheckpointException e) {
      System.out.println(e.getMessage());
      if (e.getMessage().endsWith("the program is being stopped")) {
        // Exiting after the last shutdown hook would end the JVM before the signal does, with 1.
        Thread.sleep(Long.MAX_VALUE);
      }
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

  /** Copies the model {@code in} of a folder to {@code out}, again and again without a commit. */
  private static void writeFolderForever(Path folder) throws IOException {
    try (ModelFolder source = ModelFolder.open(folder.resolve("in"));
        CheckpointWriter writer =
            ModelFolder.create(
                folder.resolve("out"),
                source,
                CheckpointPlan.copyOf(source, Map.of()),
                Map.of(),
                true)) {
      System.out.println("writing");
      while (true) {
        for (TensorInfo tensor : source.tensors().values()) {
          writer.write(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
        }
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
