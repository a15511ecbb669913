package dev.sinew.fuzz;

import dev.sinew.io.CheckpointFormat;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Any bytes as the index of a folder with two shards either open as these shards' tensors, or are
 * an IOException; a tensor that lies outside of the folder is never read.
 */
public final class IndexFuzzer {
  private static final Path FOLDER = folder();
  private static final Path INDEX = FOLDER.resolve("model.safetensors.index.json");

  private IndexFuzzer() {}

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] data) throws IOException {
    FuzzFile.write(INDEX, data);
    try (Checkpoint checkpoint = CheckpointFormat.open(FOLDER)) {
      for (TensorInfo tensor : checkpoint.tensors().values()) {
        if (tensor.name().equals("outside")) {
          throw new AssertionError("a file beside the folder was opened");
        }
        FuzzFile.readEnds(checkpoint, tensor);
      }
    } catch (IOException e) {
      FuzzFile.requireSentence(e);
    }
  }

  private static Path folder() {
    try {
      Path parent = Files.createTempDirectory("sinew-fuzz-index");
      Path folder = Files.createDirectory(parent.resolve("model"));
      write(parent.resolve("outside"), "outside");
      write(folder.resolve("a"), "t");
      write(folder.resolve("b"), "u");
      Files.createSymbolicLink(folder.resolve("c"), Path.of("../outside"));
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(parent)));
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void write(Path file, String tensor) throws IOException {
    String header = "{\"" + tensor + "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + 1).order(ByteOrder.LITTLE_ENDIAN);
    Files.write(file, bytes.putLong(text.length).put(text).array());
  }

  private static void delete(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      files.sorted(java.util.Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
    } catch (IOException e) {
      // It lies in the folder for temporary files.
    }
  }
}
