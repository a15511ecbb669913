package dev.sinew.internal;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import org.bytedeco.javacpp.Loader;

/**
 * Finds OpenBLAS, once, for products of F32 matrices.
 *
 * <p>The system property {@code sinew.openblas} names a library, or says {@code none}. Without it
 * the one of JavaCPP's preset is taken if its jar ({@code org.bytedeco:openblas} with classifier
 * {@code linux-x86_64}) is on the class path, else the system's {@code libopenblas.so.0}.
 */
public final class Blas {
  private static final String PROPERTY = "sinew.openblas";
  private static final String RESOURCES = "/org/bytedeco/openblas/linux-x86_64/";
  // The last one needs the others, and looks for them beside itself.
  private static final String[] FILES = {
    "libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0"
  };

  private Blas() {}

  /** Opens it if this has not happened yet. The native library is loaded before. */
  public static void load() {
    Holder.load();
  }

  /** What {@link dev.sinew.Device#blas()} says. */
  public static String description() {
    NativeLibrary.load();
    return Holder.DESCRIPTION;
  }

  private static final class Holder {
    static final String DESCRIPTION = find();

    static void load() {}

    private static String find() {
      String path = System.getProperty(PROPERTY);
      if ("none".equals(path)) {
        return "Sinew, as " + PROPERTY + " is none";
      }
      try {
        if (path == null) {
          path = preset();
        }
      } catch (IOException e) {
        return "Sinew, as OpenBLAS cannot be extracted: " + e.getMessage();
      }
      if (SinewNative.sn_blas_open(path) != SinewNative.SN_OK) {
        return "Sinew, as "
            + SinewNative.sn_last_error().getString(NativeLibrary.FILE_NAMES)
            + (path == null ? "; org.bytedeco:openblas is not on the class path" : "");
      }
      return SinewNative.sn_blas_configuration().getString().strip()
          + ", "
          + (path == null ? "the system's" : path);
    }

    // JavaCPP would also load its binding, and complain if that is not of its own version.
    private static String preset() throws IOException {
      File file = null;
      for (String name : FILES) {
        URL resource = Blas.class.getResource(RESOURCES + name);
        if (resource == null) {
          return null;
        }
        LibraryCache.choose();
        file = Loader.cacheResource(resource);
        if (file == null) {
          throw new IOException("JavaCPP found no place for " + name);
        }
      }
      return file.getPath();
    }
  }
}
