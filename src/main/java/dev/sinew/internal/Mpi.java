package dev.sinew.internal;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;

/**
 * Finds the library that moves bytes with MPI. The system property {@code sinew.mpi} names it;
 * without it the one of the jar with classifier {@code linux-x86_64} is taken, else the one beside
 * the native library, else the system's.
 */
public final class Mpi {
  private static final String PROPERTY = "sinew.mpi";

  private Mpi() {}

  /**
   * The library's path as a C string in a direct buffer, which the caller keeps reachable; null for
   * where the native library looks by itself.
   *
   * @throws UnsupportedOperationException if it cannot be extracted
   */
  public static ByteBuffer library() {
    NativeLibrary.load();
    String path = System.getProperty(PROPERTY);
    try {
      if (path == null) {
        path = PackedLibrary.path("libsinew_mpi.so");
      }
    } catch (IOException e) {
      throw new UnsupportedOperationException(
          "MPI cannot be used, as its library cannot be extracted: " + e.getMessage(), e);
    }
    if (path == null) {
      return null;
    }
    byte[] name = path.getBytes(NativeLibrary.FILE_NAMES);
    return ByteBuffer.allocateDirect(name.length + 1).put(name).rewind();
  }

  /** A pointer to such a string, or null. */
  public static BytePointer pointer(ByteBuffer string) {
    return string == null ? null : new BytePointer(string);
  }
}
