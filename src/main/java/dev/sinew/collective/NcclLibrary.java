package dev.sinew.collective;

import static org.bytedeco.cuda.global.nccl.ncclGetVersion;

import dev.sinew.internal.GpuLibrary;
import dev.sinew.internal.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.cuda.global.nccl;
import org.bytedeco.javacpp.Loader;

/** Loads NCCL by way of JavaCPP's binding, once, when it is first asked for. */
final class NcclLibrary {
  private static final String FILE = "libnccl.so.2";

  private static volatile boolean tried;

  private NcclLibrary() {}

  /**
   * Loads it if this has not happened yet.
   *
   * @throws UnsupportedOperationException if the binding or NCCL is missing; the message says what
   *     to add
   */
  static void load() {
    tried = true;
    if (Loading.PROBLEM != null) {
      throw new UnsupportedOperationException(Loading.PROBLEM);
    }
  }

  /** What {@link Communicator#ncclLibrary()} says. */
  static String description() {
    String jar = tried ? null : GpuLibrary.jarWith(FILE);
    if (jar != null) {
      return "NCCL, which the first communicator over it will extract from " + jar;
    }
    try {
      load();
    } catch (UnsupportedOperationException e) {
      return "Sinew, on one host only, as " + e.getMessage();
    }
    int[] code = new int[1];
    ncclGetVersion(code);
    return "NCCL %d.%d.%d, %s"
        .formatted(code[0] / 10000, code[0] / 100 % 100, code[0] % 100, place());
  }

  // The file that the process has mapped, as JavaCPP leaves finding it to the dynamic linker.
  private static String place() {
    try {
      byte[] maps = Files.readAllBytes(Path.of("/proc/self/maps"));
      return new String(maps, NativeLibrary.FILE_NAMES)
          .lines()
          .filter(line -> line.contains("/libnccl.so"))
          .map(line -> line.substring(line.indexOf('/')))
          .findFirst()
          .orElse(FILE);
    } catch (IOException e) {
      return FILE;
    }
  }

  /** A class of its own, which is initialized once, whatever comes of it. */
  private static final class Loading {
    static final String PROBLEM = problem();

    private static String problem() {
      try {
        Loader.load(nccl.class);
        return null;
      } catch (LinkageError e) {
        return "NCCL cannot be used: "
            + reason(e)
            + "; it takes org.bytedeco:cuda of CUDA 13, without and with classifier linux-x86_64,"
            + " and libnccl.so.2, NVIDIA's or that of org.bytedeco:cuda-redist-nccl, classifier"
            + " linux-x86_64";
      }
    }

    // JavaCPP says where it has looked; the first cause is what it has found there.
    private static String reason(LinkageError e) {
      Throwable first = e;
      while (first.getCause() != null) {
        first = first.getCause();
      }
      if (first instanceof ClassNotFoundException) {
        return "JavaCPP's preset of CUDA is not on the class path";
      }
      // Without the name of the binding's own library, which the dynamic linker begins with.
      return String.valueOf(first.getMessage()).replaceFirst("^/.*/libjni[a-z]+\\.so: ", "");
    }
  }
}
