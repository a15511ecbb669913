package dev.sinew.internal;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.nio.charset.Charset;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.javacpp.Loader;

/**
 * Finds and loads the native library, once, on first use.
 *
 * <p>It is looked for in the folder that the system property {@code sinew.library.path} names, or
 * else among the resources of the class path (the jar with classifier {@code linux-x86_64}, or the
 * {@code -all} jar), from where JavaCPP extracts it to its cache: the folder that the property
 * {@code org.bytedeco.javacpp.cachedir} names, or {@code ~/.javacpp/cache}, or where that cannot be
 * written, or others could, a new folder that goes when the JVM ends.
 */
public final class NativeLibrary {
  private static final String PATH_PROPERTY = "sinew.library.path";
  private static final int API_VERSION = 1;
  private static final String[] FILES = {"libsinew.so", "libjniSinewNative.so"};
  private static final String RESOURCES = "/dev/sinew/internal/linux-x86_64/";

  /** How file names are encoded for the system, which Java calls the platform's encoding. */
  public static final Charset FILE_NAMES =
      Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"));

  private NativeLibrary() {}

  /**
   * Loads the library if this has not happened yet.
   *
   * @throws UnsatisfiedLinkError if it cannot be loaded; the message says what was looked for,
   *     where, and why it failed
   */
  public static void load() {
    if (Holder.FAILURE != null) {
      UnsatisfiedLinkError error = new UnsatisfiedLinkError(Holder.FAILURE.getMessage());
      error.initCause(Holder.FAILURE);
      throw error;
    }
  }

  /** The folder that the libraries are to be taken from; null for the class path. */
  static String folder() {
    return System.getProperty(PATH_PROPERTY);
  }

  /** The file that was loaded. */
  public static String location() {
    load();
    return Holder.LOCATION;
  }

  /**
   * Why the library could not be loaded, and what to do.
   *
   * @param folder where it was looked for; null for the class path
   * @param cause what the loader said
   */
  static String explain(String folder, String cause) {
    // glibc's words for a file on a file system that is mounted noexec.
    if (folder == null && cause.contains("failed to map segment")) {
      return "the native library cannot be loaded from JavaCPP's cache, as that file system runs no"
          + " programs (noexec): "
          + cause
          + "; name another folder for it with -Dorg.bytedeco.javacpp.cachedir=DIR";
    }
    return "the native library libjniSinewNative.so was not found or not loadable in "
        + (folder != null
            ? "'" + folder + "'"
            : "the class path (is the jar sinew-VERSION-linux-x86_64 on it?)")
        + ": "
        + cause;
  }

  private static final class Holder {
    static final String LOCATION;
    static final Throwable FAILURE;

    static {
      String location = null;
      Throwable failure = null;
      try {
        location = find();
      } catch (LinkageError | RuntimeException e) {
        failure = e;
      }
      LOCATION = location;
      FAILURE = failure;
    }

    // Not where the libraries are files of a class folder, which are used in place.
    private static void requireCache() {
      String[] resources = Arrays.stream(FILES).map(RESOURCES::concat).toArray(String[]::new);
      URL first = NativeLibrary.class.getResource(resources[0]);
      if (first == null || first.getProtocol().equals("file")) {
        return;
      }
      try {
        LibraryCache.choose();
      } catch (IOException e) {
        UnsatisfiedLinkError error =
            new UnsatisfiedLinkError("the native library cannot be extracted: " + e.getMessage());
        error.initCause(e);
        throw error;
      }
      LibraryCache.refresh(resources);
    }

    private static String find() {
      String os = System.getProperty("os.name", "").toLowerCase(Locale.ROOT);
      String arch = System.getProperty("os.arch", "").toLowerCase(Locale.ROOT);
      if (!os.equals("linux") || !(arch.equals("amd64") || arch.equals("x86_64"))) {
        throw new UnsatisfiedLinkError(
            "Sinew has native code for linux-x86_64 only, and this is " + os + "-" + arch);
      }
      String folder = folder();
      if (folder != null) {
        folder = new File(folder).getAbsolutePath();
        for (String name : FILES) {
          if (!new File(folder, name).isFile()) {
            throw new UnsatisfiedLinkError(
                PATH_PROPERTY + " names '" + folder + "', which does not hold " + name);
          }
        }
        System.setProperty("org.bytedeco.javacpp.pathsFirst", "true");
        Loader.loadProperties().setProperty("platform.linkpath", folder);
      } else {
        requireCache();
      }
      try {
        Class.forName("dev.sinew.internal.SinewNative", true, NativeLibrary.class.getClassLoader());
      } catch (ClassNotFoundException | LinkageError e) {
        Throwable cause = e.getCause() instanceof UnsatisfiedLinkError ? e.getCause() : e;
        UnsatisfiedLinkError error =
            new UnsatisfiedLinkError(explain(folder, String.valueOf(cause.getMessage())));
        error.initCause(e);
        throw error;
      }
      if (SinewNative.sn_api_version() != API_VERSION) {
        throw new UnsatisfiedLinkError(
            "the native library has interface version "
                + SinewNative.sn_api_version()
                + ", the Java classes need "
                + API_VERSION
                + "; use jars of one release");
      }
      for (Map.Entry<String, String> library : Loader.getLoadedLibraries().entrySet()) {
        if (library.getKey().startsWith("sinew")) {
          String file = library.getValue();
          if (folder != null && !file.startsWith(folder)) {
            throw new UnsatisfiedLinkError(
                PATH_PROPERTY
                    + " names '"
                    + folder
                    + "', but what was loaded is '"
                    + file
                    + "': either the libraries in that folder cannot be loaded, or JavaCPP was in use"
                    + " before and needs org.bytedeco.javacpp.pathsFirst=true at the start of the"
                    + " JVM");
          }
          return file;
        }
      }
      return "unknown";
    }
  }
}
