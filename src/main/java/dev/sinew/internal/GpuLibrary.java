package dev.sinew.internal;

import java.io.File;
import java.io.IOException;
import java.lang.ref.Reference;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;

/**
 * Finds a library of NVIDIA's that makes large operations on GPUs faster, once, when the first of
 * them is asked for.
 *
 * <p>A system property names a library, or says {@code none}; so does an environment variable.
 * Without them the redistributable one of JavaCPP's preset of CUDA is taken if its jar (classifier
 * {@code linux-x86_64}) is on the class path, else the system's. JavaCPP's cache is where {@code
 * Loader.load} of the preset's class would extract it to as well, so a process never has two
 * copies.
 */
public enum GpuLibrary {
  /** Products of matrices: {@code sinew.cublaslt}, {@code SINEW_CUBLASLT}. */
  CUBLASLT(
      "cuBLASLt",
      "product",
      "sinew.cublaslt",
      "SINEW_CUBLASLT",
      SinewNative.SN_CUBLASLT_LEAST,
      "libcublasLt.so.13",
      SinewNative::sn_cuda_cublaslt,
      SinewNative::sn_cuda_cublaslt_description),
  /** Convolutions: {@code sinew.cudnn}, {@code SINEW_CUDNN}. */
  CUDNN(
      "cuDNN",
      "convolution",
      "sinew.cudnn",
      "SINEW_CUDNN",
      SinewNative.SN_CUDNN_LEAST,
      "libcudnn.so.9 " + SinewNative.SN_CUDNN_PARTS,
      SinewNative::sn_cuda_cudnn,
      SinewNative::sn_cuda_cudnn_description);

  private static final String FOLDER = "/org/bytedeco/cuda/linux-x86_64/";

  private final String title;
  private final String operation;
  private final String property;
  private final String variable;
  private final double least;
  private final List<String> files;
  private final ToIntFunction<BytePointer> name;
  private final Supplier<BytePointer> describe;

  private volatile boolean looked;
  private String failure; // under the lock

  GpuLibrary(
      String title,
      String operation,
      String property,
      String variable,
      double least,
      String files,
      ToIntFunction<BytePointer> name,
      Supplier<BytePointer> describe) {
    this.title = title;
    this.operation = operation;
    this.property = property;
    this.variable = variable;
    this.least = least;
    this.files = List.of(files.split(" "));
    this.name = name;
    this.describe = describe;
  }

  /** Before an operation of so many multiplications on a GPU. */
  public void prepare(double multiplications) {
    if (multiplications >= least && !looked) {
      find();
    }
  }

  /**
   * What computes such operations, or why not this library. What is packed is not extracted for it,
   * as it has half a gigabyte or more.
   */
  public String description() {
    Cuda.load();
    synchronized (this) {
      URL packed = looked ? null : packed(files.get(0));
      if (packed != null) {
        return title + ", which the first large " + operation + " will extract from " + jar(packed);
      }
      find();
      return failure != null ? failure : describe.get().getString(NativeLibrary.FILE_NAMES);
    }
  }

  private synchronized void find() {
    if (!looked) {
      failure = choose();
      looked = true;
    }
  }

  // Names the library to use. Why it cannot be used, or null.
  private String choose() {
    String path = System.getProperty(property);
    try {
      if (packed(files.get(0)) != null) {
        path = extract();
      }
    } catch (IOException e) {
      name("none");
      return "Sinew, as " + title + " cannot be extracted: " + e.getMessage();
    }
    return path == null || name(path) == SinewNative.SN_OK
        ? null
        : "Sinew, as " + Status.lastError();
  }

  private URL packed(String file) {
    return System.getProperty(property) == null && System.getenv(variable) == null
        ? GpuLibrary.class.getResource(FOLDER + file)
        : null;
  }

  // All files that are there, side by side, as the first opens others. Of some releases there are
  // fewer.
  private String extract() throws IOException {
    LibraryCache.choose();
    String first = null;
    for (String name : files) {
      URL packed = packed(name);
      if (packed == null) {
        continue;
      }
      File file = Loader.cacheResource(packed);
      if (file == null) {
        throw new IOException("JavaCPP found no place for " + name);
      }
      first = first == null ? file.getPath() : first;
    }
    return first;
  }

  /** The jar on the class path that has this file as JavaCPP's preset of CUDA does, or null. */
  public static String jarWith(String file) {
    URL packed = GpuLibrary.class.getResource(FOLDER + file);
    return packed == null ? null : jar(packed);
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

  private int name(String path) {
    byte[] bytes = path.getBytes(NativeLibrary.FILE_NAMES);
    // With the zero byte that ends a C string.
    ByteBuffer string = ByteBuffer.allocateDirect(bytes.length + 1).put(bytes).rewind();
    int status = name.applyAsInt(new BytePointer(string));
    Reference.reachabilityFence(string);
    return status;
  }
}
