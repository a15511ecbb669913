package dev.sinew.internal;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;

/**
 * Finds the CUDA plug-in, once, when a GPU is first asked for.
 *
 * <p>The system property {@code sinew.cuda} names a library, or says {@code none}. Without it the
 * one of the jar with classifier {@code linux-x86_64} is taken, else the one beside the native
 * library, else the system's.
 */
public final class Cuda {
  private static final String PROPERTY = "sinew.cuda";

  private static volatile boolean loaded;

  private Cuda() {}

  /**
   * Loads the plug-in if this has not happened yet.
   *
   * @throws UnsupportedOperationException if there is none or it cannot be loaded
   */
  public static void load() {
    NativeLibrary.load();
    String path = System.getProperty(PROPERTY);
    if ("none".equals(path)) {
      throw new UnsupportedOperationException("no GPU can be used, as " + PROPERTY + " is none");
    }
    if (loaded) {
      return;
    }
    if (path == null) {
      path = packed();
    }
    if (path == null) {
      Status.check(SinewNative.sn_cuda_load((BytePointer) null));
    } else {
      byte[] name = path.getBytes(NativeLibrary.FILE_NAMES);
      // With the zero byte that ends a C string.
      ByteBuffer string = ByteBuffer.allocateDirect(name.length + 1).put(name).rewind();
      Status.check(SinewNative.sn_cuda_load(new BytePointer(string)));
      Reference.reachabilityFence(string);
    }
    loaded = true;
  }

  private static String packed() {
    try {
      return PackedLibrary.path("libsinew_cuda.so");
    } catch (IOException e) {
      throw new UnsupportedOperationException(
          "no GPU can be used, as the CUDA plug-in cannot be extracted: " + e.getMessage(), e);
    }
  }
}
