package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** A model folder in the making, see {@link ModelFolder#create}. */
final class FolderWriter implements CheckpointWriter {
  private static final String INDEX = "model.safetensors.index.json";
  private static final String SUFFIX = ".safetensors";

  private final AtomicFolder folder;
  private final ChannelPool pool = new ChannelPool(ChannelPool.USUAL_LIMIT);
  private final List<PooledFile> shards = new ArrayList<>();
  private final TensorSlots slots = new TensorSlots();

  /** Folders inside of the temporary one, to be synced. */
  private final Set<Path> subFolders = new TreeSet<>(Comparator.reverseOrder());

  private FolderWriter(AtomicFolder folder) {
    this.folder = folder;
  }

  static CheckpointWriter create(
      Path target,
      ModelFolder source,
      CheckpointPlan plan,
      Map<String, byte[]> files,
      boolean overwrite)
      throws CheckpointException {
    files.keySet().forEach(FolderWriter::requireFileName);
    ModelFiles others = source.files();
    Map<String, List<TensorInfo>> byShard = assign(source, plan);
    AtomicFolder.requireApart(source.real(), target);
    FolderWriter writer = new FolderWriter(AtomicFolder.create(target, overwrite));
    try {
      for (Map.Entry<String, byte[]> file : files.entrySet()) {
        writer.write(file.getKey(), file.getValue());
      }
      for (String name : others.copied()) {
        if (!files.containsKey(name)) {
          writer.copy(source.real(), name);
        }
      }
      for (Map.Entry<String, List<TensorInfo>> shard : byShard.entrySet()) {
        writer.addShard(shard.getKey(), shard.getValue(), plan.metadata());
      }
      if (byShard.size() > 1 || source.hasIndex()) {
        writer.writeIndex(
            byShard.values().stream().flatMap(List::stream).mapToLong(TensorInfo::bytes).sum());
      }
      return writer;
    } catch (CheckpointException | RuntimeException | Error e) {
      writer.close();
      throw e;
    }
  }

  private static void requireFileName(String name) {
    if (!ModelFiles.isPlainName(name) || ModelFiles.isWeights(name)) {
      throw new IllegalArgumentException(
          Messages.quote(name) + " is not the plain name of a file besides the weights");
    }
  }

  /** The tensors of each output shard, in the order of the source's shards. */
  private static Map<String, List<TensorInfo>> assign(ModelFolder source, CheckpointPlan plan)
      throws CheckpointException {
    Map<String, String> outputNames = outputNames(source);
    Map<String, List<TensorInfo>> byShard = new LinkedHashMap<>();
    outputNames.values().forEach(name -> byShard.put(name, new ArrayList<>()));
    String shard = source.shardNames().get(0);
    for (Map.Entry<String, List<TensorInfo>> outputs : plan.outputs().entrySet()) {
      shard = source.shardNameOf(outputs.getKey()).orElse(shard);
      byShard.get(outputNames.get(shard)).addAll(outputs.getValue());
    }
    if (byShard.size() > 1) {
      byShard.values().removeIf(List::isEmpty);
    }
    if (byShard.isEmpty()) {
      byShard.put(outputNames.get(shard), List.of());
    }
    return byShard;
  }

  private static Map<String, String> outputNames(ModelFolder source) throws CheckpointException {
    Map<String, String> names = new LinkedHashMap<>();
    Map<String, String> sources = new HashMap<>();
    for (String name : source.shardNames()) {
      String output = outputName(name);
      String other = sources.put(output, name);
      if (other != null) {
        throw new CheckpointException(
            Messages.quote(source.path())
                + " has the shards "
                + Messages.quote(other)
                + " and "
                + Messages.quote(name)
                + ", which both would be written as "
                + Messages.quote(output)
                + "; rename one of them, in the index too");
      }
      names.put(name, output);
    }
    return names;
  }

  /** The name under which loaders look for safetensors in the place of this shard. */
  static String outputName(String shard) {
    String stem = shard;
    for (String suffix : List.of(SUFFIX, ".bin", ".pth", ".pt")) {
      if (stem.endsWith(suffix)) {
        stem = stem.substring(0, stem.length() - suffix.length());
        break;
      }
    }
    String torch = "pytorch_model";
    return (stem.startsWith(torch) ? "model" + stem.substring(torch.length()) : stem) + SUFFIX;
  }

  private void addShard(String name, List<TensorInfo> tensors, Map<String, String> metadata)
      throws CheckpointException {
    PooledFile file = new PooledFile(name);
    shards.add(file);
    slots.add(file, SafeTensorsLayout.of(file.target(), tensors, metadata));
  }

  private void writeIndex(long totalSize) throws CheckpointException {
    String[] names = slots.names().toArray(String[]::new);
    Arrays.sort(names);
    try (PooledFile file = new PooledFile(INDEX)) {
      try (OutputStream out = new BufferedOutputStream(file.stream(), 1 << 16)) {
        ShardIndex.write(
            out, names, name -> slots.fileOf(name).target().getFileName().toString(), totalSize);
      } catch (CheckpointException e) {
        throw e;
      } catch (IOException e) {
        throw AtomicFile.failure(file.target(), e);
      }
      file.commit();
    }
  }

  private void write(String name, byte[] content) throws CheckpointException {
    try (PooledFile file = new PooledFile(name)) {
      file.write(0, ByteBuffer.wrap(content));
      file.commit();
    }
  }

  private void copy(Path source, String name) throws CheckpointException {
    Path to = folder.path().resolve(name);
    try {
      for (Path sub = to.getParent(); !sub.equals(folder.path()); sub = sub.getParent()) {
        subFolders.add(sub);
      }
      TemporaryFiles.createFoldersInside(to.getParent());
    } catch (IOException e) {
      throw AtomicFile.failure(folder.target().resolve(name), e);
    }
    try (InputFile from = InputFile.open(realFile(source, name));
        PooledFile file = new PooledFile(name)) {
      ByteBuffer piece = ByteBuffer.allocate((int) Math.min(from.size(), InputFile.HEAP_CHUNK));
      for (long position = 0; position < from.size(); position += piece.limit()) {
        piece.clear().limit((int) Math.min(piece.capacity(), from.size() - position));
        from.read(position, piece, "the content");
        file.write(position, piece.flip());
      }
      file.commit();
    }
  }

  private static Path realFile(Path source, String name) throws CheckpointException {
    Path file = source.resolve(name);
    try {
      return ModelFiles.requireInside(source, file);
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot read " + Messages.quote(file) + ": " + Messages.reason(e), e);
    }
  }

  @Override
  public void write(String tensor, long byteOffset, ByteBuffer source) throws CheckpointException {
    slots.write(tensor, byteOffset, source);
  }

  @Override
  public void commit() throws CheckpointException {
    try {
      slots.requireComplete();
      for (PooledFile shard : shards) {
        shard.commit();
      }
      subFolders.forEach(AtomicFile::syncFolder);
      folder.commit();
    } finally {
      close();
    }
  }

  @Override
  public void close() {
    try {
      pool.close();
    } catch (IOException e) {
      // Committed files have been closed before, and the others are about to be deleted.
    }
    folder.close();
  }

  /** A file in the temporary folder, open while it is in use. */
  private final class PooledFile implements DataFile {
    private final Path path;
    private final Path target;
    private final ChannelPool.Member channel;
    private boolean created;

    PooledFile(String name) {
      this.path = folder.path().resolve(name);
      this.target = folder.target().resolve(name);
      this.channel = pool.add(this::open);
    }

    private FileChannel open() throws IOException {
      if (created) {
        return FileChannel.open(path, StandardOpenOption.WRITE);
      }
      FileChannel opened = TemporaryFiles.createInside(path);
      created = true;
      return opened;
    }

    @Override
    public Path target() {
      return target;
    }

    @Override
    public void write(long position, ByteBuffer source) throws CheckpointException {
      try {
        channel.use(
            open -> {
              AtomicFile.writeFully(open, position, source);
              return null;
            });
      } catch (IOException e) {
        throw AtomicFile.failure(target, e);
      }
    }

    @Override
    public void commit() throws CheckpointException {
      try {
        channel.use(
            open -> {
              open.force(true);
              return null;
            });
        channel.close();
      } catch (IOException e) {
        throw AtomicFile.failure(target, e);
      }
    }

    @Override
    public void close() {
      try {
        channel.close();
      } catch (IOException e) {
        // The folder that it is in is about to be deleted.
      }
    }
  }
}
