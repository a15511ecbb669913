package dev.sinew.internal;

import java.io.File;
import java.io.IOException;
import java.lang.ref.Reference;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;

/**
 * Finds cuBLASLt for large products on GPUs, once, when the first of them is asked for.
 *
 * <p>The system property {@code sinew.cublaslt} names a library, or says {@code none}; so does the
 * environment variable {@code SINEW_CUBLASLT}. Without them the redistributable one of JavaCPP's
 * preset of CUDA is taken if its jar ({@code org.bytedeco:cuda-redist-cublas} with classifier
 * {@code linux-x86_64}) is on the class path, else the system's. JavaCPP's cache is where {@code
 * Loader.load(cublas.class)} would extract it to as well, so a process never has two copies.
 */
public final class CublasLt {
  private static final String PROPERTY = "sinew.cublaslt";
  private static final String VARIABLE = "SINEW_CUBLASLT";
  private static final String RESOURCE = "/org/bytedeco/cuda/linux-x86_64/libcublasLt.so.13";

  private static volatile boolean wanted;

  private CublasLt() {}

  /** Before a product of so many multiplications on a GPU. */
  public static void prepare(double multiplications) {
    if (multiplications >= SinewNative.SN_CUBLASLT_LEAST) {
      wanted = true;
      Holder.load();
    }
  }

  /**
   * What {@link dev.sinew.Device#cublasLt()} says. What is packed is not extracted for it, as it
   * has half a gigabyte.
   */
  public static String description() {
    Cuda.load();
    URL packed = wanted ? null : packed();
    if (packed != null) {
      return "cuBLASLt, which the first large product will extract from " + jar(packed);
    }
    return Holder.FAILURE != null
        ? Holder.FAILURE
        : SinewNative.sn_cuda_cublaslt_description().getString(NativeLibrary.FILE_NAMES);
  }

  private static URL packed() {
    return System.getProperty(PROPERTY) == null && System.getenv(VARIABLE) == null
        ? CublasLt.class.getResource(RESOURCE)
        : null;
  }

  private static String jar(URL resource) {
    try {
      if (resource.openConnection() instanceof JarURLConnection connection) {
        return Path.of(connection.getJarFileURL().toURI()).toString();
      }
    } catch (IOException | URISyntaxException | RuntimeException e) {
      // A jar within a jar, for example. The URL says it as well.
    }
    return resource.toString();
  }

  private static final class Holder {
    static final String FAILURE = find();

    static void load() {}

    // Names the library to use. Why it cannot be used, or null.
    private static String find() {
      String path = System.getProperty(PROPERTY);
      URL packed = packed();
      try {
        if (packed != null) {
          path = extract(packed);
        }
      } catch (IOException e) {
        name("none");
        return "Sinew, as cuBLASLt cannot be extracted: " + e.getMessage();
      }
      if (path == null || name(path) == SinewNative.SN_OK) {
        return null;
      }
      return "Sinew, as " + Status.lastError();
    }

    private static String extract(URL packed) throws IOException {
      LibraryCache.choose();
      File file = Loader.cacheResource(packed);
      if (file == null) {
        throw new IOException("JavaCPP found no place for it");
      }
      return file.getPath();
    }

    private static int name(String path) {
      byte[] name = path.getBytes(NativeLibrary.FILE_NAMES);
      // With the zero byte that ends a C string.
      ByteBuffer string = ByteBuffer.allocateDirect(name.length + 1).put(name).rewind();
      int status = SinewNative.sn_cuda_cublaslt(new BytePointer(string));
      Reference.reachabilityFence(string);
      return status;
    }
  }
}
