package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The files of a model folder besides those with its weights, as names relative to the folder,
 * sorted.
 *
 * @param copied what belongs to the model whatever form its weights have: configuration, tokenizer,
 *     licence
 * @param leftOut other forms of the weights, which would be stale beside new ones, with their
 *     indexes; and the folders of Git and of Hugging Face's downloads, which end with a separator
 */
public record ModelFiles(List<String> copied, List<String> leftOut) {
  /** What the weights of a model are in, the first found counts. */
  static final List<String> WEIGHTS =
      List.of(
          "model.safetensors.index.json",
          "model.safetensors",
          "pytorch_model.bin.index.json",
          "pytorch_model.bin");

  static final String INDEX_SUFFIX = ".index.json";

  private static final Set<String> WEIGHT_SUFFIXES =
      Set.of(
          "safetensors",
          "bin",
          "pt",
          "pth",
          "ckpt",
          "h5",
          "msgpack",
          "ot",
          "onnx",
          "onnx_data",
          "gguf",
          "ggml",
          "tflite");

  private static final Pattern SHARD =
      Pattern.compile("(model|pytorch_model)-\\d{1,9}-of-\\d{1,9}\\.(safetensors|bin)");

  /** Both may hold copies of the weights as large as the model. */
  private static final Set<String> FOREIGN_FOLDERS = Set.of(".git", ".cache");

  public ModelFiles {
    copied = List.copyOf(copied);
    leftOut = List.copyOf(leftOut);
  }

  /**
   * Lists a folder and its sub-folders.
   *
   * @param folder the folder, links resolved
   * @param weights the names of the files in it that make up the model, indexes included
   * @throws CheckpointException if it cannot be read, or holds what cannot be copied: links that
   *     lead out of it or to folders, pipes, devices
   */
  static ModelFiles list(Path folder, Collection<String> weights) throws CheckpointException {
    Set<String> copied = new TreeSet<>();
    Set<String> leftOut = new TreeSet<>();
    try {
      Files.walkFileTree(
          folder,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path sub, BasicFileAttributes attributes) {
              if (!sub.equals(folder) && FOREIGN_FOLDERS.contains(sub.getFileName().toString())) {
                leftOut.add(folder.relativize(sub) + "/");
                return FileVisitResult.SKIP_SUBTREE;
              }
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                throws IOException {
              String name = folder.relativize(file).toString();
              if (weights.contains(name)) {
                return FileVisitResult.CONTINUE;
              }
              if (isWeights(name)) {
                leftOut.add(name);
              } else {
                requireCopyable(folder, file, attributes);
                copied.add(name);
              }
              return FileVisitResult.CONTINUE;
            }
          });
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot list the files of " + Messages.quote(folder) + ": " + Messages.reason(e), e);
    }
    return new ModelFiles(new ArrayList<>(copied), new ArrayList<>(leftOut));
  }

  /** By its name: what a file of weights holds cannot be told without reading it. */
  static boolean isWeights(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    if (lower.endsWith(INDEX_SUFFIX)) {
      return isWeights(lower.substring(0, lower.length() - INDEX_SUFFIX.length()));
    }
    int dot = lower.lastIndexOf('.');
    return dot >= 0 && WEIGHT_SUFFIXES.contains(lower.substring(dot + 1));
  }

  /** Whether this is the name of a file in a folder: no path, and nothing special. */
  static boolean isPlainName(String name) {
    if (name.isEmpty()
        || name.equals(".")
        || name.equals("..")
        || name.indexOf('/') >= 0
        || name.indexOf('\\') >= 0) {
      return false;
    }
    try {
      return Path.of(name).getNameCount() == 1;
    } catch (InvalidPathException e) {
      return false;
    }
  }

  /**
   * Refuses files that are links to what lies outside of the folder: the folder may come from
   * anybody, and naming {@code /etc/passwd} as a configuration would hand it on.
   *
   * @param folder links resolved
   * @return the file, links resolved
   * @throws NoSuchFileException if it does not exist
   */
  static Path requireInside(Path folder, Path file) throws IOException {
    Path real = file.toRealPath();
    if (!real.startsWith(folder)) {
      throw new CheckpointException(
          Messages.quote(file)
              + " is a symbolic link that leads out of its folder, as in a download cache; copy the"
              + " folder with 'cp -rL' and give the copy");
    }
    return real;
  }

  private static void requireCopyable(Path folder, Path file, BasicFileAttributes attributes)
      throws IOException {
    if (attributes.isSymbolicLink()) {
      Path real;
      try {
        real = requireInside(folder, file);
      } catch (NoSuchFileException e) {
        throw new CheckpointException(
            Messages.quote(file) + " is a symbolic link to a file that does not exist; delete it",
            e);
      }
      if (Files.isDirectory(real)) {
        throw new CheckpointException(
            Messages.quote(file)
                + " is a symbolic link to a folder; copy the model with 'cp -rL' and give the"
                + " copy");
      }
      attributes = Files.readAttributes(real, BasicFileAttributes.class);
    }
    if (!attributes.isRegularFile()) {
      throw new CheckpointException(
          Messages.quote(file)
              + " is a pipe, a socket or a device, which cannot be copied; delete it");
    }
  }

  /**
   * The first, by name, of the files that are shards by their names: {@code
   * model-00001-of-00002.safetensors}.
   */
  static Optional<String> findShard(Path folder) throws CheckpointException {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> SHARD.matcher(name).matches())
          .min(Comparator.naturalOrder());
    } catch (IOException | UncheckedIOException e) {
      IOException cause = e instanceof UncheckedIOException u ? u.getCause() : (IOException) e;
      throw new CheckpointException(
          "cannot list the files of " + Messages.quote(folder) + ": " + Messages.reason(cause), e);
    }
  }

  /** The first of {@link #WEIGHTS} that a folder has, dangling links included; null if none. */
  static String findWeights(Path folder) {
    for (String name : WEIGHTS) {
      if (Files.exists(folder.resolve(name), LinkOption.NOFOLLOW_LINKS)) {
        return name;
      }
    }
    return null;
  }
}
