package dev.sinew.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class NativeLibraryMessageTest {
  @Test
  void aCacheThatRunsNoProgramsIsToBePutElsewhere() {
    String message =
        NativeLibrary.explain(
            null, "/c/libjniSinewNative.so: failed to map segment from shared object");
    assertTrue(message.contains("/c/libjniSinewNative.so"), message);
    assertTrue(message.contains("noexec"), message);
    assertTrue(message.endsWith("-Dorg.bytedeco.javacpp.cachedir=DIR"), message);
    assertFalse(message.contains("on it?"), message);
  }

  @Test
  void aMissingJarIsNamed() {
    String message = NativeLibrary.explain(null, "no jniSinewNative in java.library.path");
    assertTrue(message.contains("sinew-VERSION-linux-x86_64"), message);
  }

  @Test
  void aFolderIsNamed() {
    assertEquals(
        "the native library libjniSinewNative.so was not found or not loadable in '/f': why",
        NativeLibrary.explain("/f", "why"));
  }
}
