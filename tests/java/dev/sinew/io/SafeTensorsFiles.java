package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.function.Executable;

/** Safetensors files put together byte by byte, without any of the code under test. */
final class SafeTensorsFiles {
  private SafeTensorsFiles() {}

  /** The length, the header as it is given, and the data. */
  static byte[] bytes(byte[] header, byte[] data) {
    return ByteBuffer.allocate(8 + header.length + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .put(data)
        .array();
  }

  static byte[] bytes(String header, byte[] data) {
    return bytes(header.getBytes(StandardCharsets.UTF_8), data);
  }

  /** The data bytes 0, 1, 2 and so on. */
  static byte[] counting(int size) {
    byte[] data = new byte[size];
    for (int i = 0; i < size; i++) {
      data[i] = (byte) i;
    }
    return data;
  }

  static Path write(Path folder, byte[] bytes) throws IOException {
    return Files.write(folder.resolve("model.safetensors"), bytes);
  }

  /** Expects a failure whose message is one line that names the file and contains {@code part}. */
  static CheckpointException assertRefused(Path file, String part, Executable action) {
    CheckpointException e = assertThrows(CheckpointException.class, action);
    String message = e.getMessage();
    assertTrue(message.contains(file.getFileName() + "'"), message);
    assertFalse(message.endsWith("."), message);
    assertTrue(message.contains(part), message + "\nlacks: " + part);
    assertFalse(message.contains("\n"), message);
    assertTrue(message.length() < 700, message);
    return e;
  }

  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }
}
