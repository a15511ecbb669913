package dev.sinew.internal;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import org.bytedeco.javacpp.Loader;

/** Optional libraries of the jar with classifier {@code linux-x86_64}. */
final class PackedLibrary {
  private PackedLibrary() {}

  /**
   * The path of the library, extracted if need be; null where it has to be looked for elsewhere.
   */
  static String path(String file) throws IOException {
    String name = "/dev/sinew/internal/linux-x86_64/" + file;
    URL resource = PackedLibrary.class.getResource(name);
    // With a folder of libraries it lies in that.
    if (resource == null || NativeLibrary.folder() != null) {
      return null;
    }
    if (!resource.getProtocol().equals("file")) {
      LibraryCache.choose();
      LibraryCache.refresh(name);
    }
    File extracted = Loader.cacheResource(resource);
    if (extracted == null) {
      throw new IOException("JavaCPP found no place for it");
    }
    return extracted.getPath();
  }
}
