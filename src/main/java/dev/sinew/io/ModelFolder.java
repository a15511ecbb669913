package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * The folder of a model as Hugging Face's tools write it: weights in one file or in several shards
 * with an index, and beside them the configuration, the tokenizer and so on. As a checkpoint it is
 * the union of its shards.
 *
 * <p>The weights are those of {@code model.safetensors.index.json}, else {@code model.safetensors},
 * else {@code pytorch_model.bin.index.json}, else {@code pytorch_model.bin}; the format of each
 * shard is recognised by its content. Tensors of a shard that the index does not list belong to the
 * model, unless another shard has them too.
 *
 * <p>Nothing outside of the folder is read: shards have plain names, and links that lead out of the
 * folder are refused. However many shards there are, at most {@value ChannelPool#USUAL_LIMIT} are
 * open at a time.
 */
public final class ModelFolder implements Checkpoint {
  private final Path path;
  private final Path real;
  private final ChannelPool pool;
  private final List<String> shardNames;
  private final String indexName;
  private final List<Checkpoint> shards = new ArrayList<>();
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, Checkpoint> shardOf = new HashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  private ModelFolder(
      Path path, Path real, ChannelPool pool, List<String> names, String indexName) {
    this.path = path;
    this.real = real;
    this.pool = pool;
    this.shardNames = List.copyOf(names);
    this.indexName = indexName;
  }

  /**
   * Opens a folder and reads the headers of all its shards.
   *
   * @throws CheckpointException one sentence that names the file: there are no weights, the index
   *     is damaged or names what is not there, a shard is damaged, two shards hold the same tensor,
   *     or a link leads out of the folder
   */
  public static ModelFolder open(Path path) throws IOException {
    return open(path, new ChannelPool(ChannelPool.USUAL_LIMIT));
  }

  /** As {@link #open(Path)}, with a pool of its own that the folder closes. */
  static ModelFolder open(Path path, ChannelPool pool) throws IOException {
    try {
      Path real = realPath(path);
      String weights = ModelFiles.findWeights(real);
      if (weights == null) {
        if (!Files.isExecutable(real)) {
          throw new CheckpointException(
              "cannot look into the folder "
                  + Messages.quote(path)
                  + ": Permission denied; check who may read it");
        }
        throw withoutWeights(path, real);
      }
      HeapBudget budget = HeapBudget.ofFolder(path);
      String indexName = weights.endsWith(ModelFiles.INDEX_SUFFIX) ? weights : null;
      Map<String, String> weightMap = Map.of();
      if (indexName != null) {
        try (InputFile index = openInside(path, real, indexName, pool)) {
          weightMap = ShardIndex.read(index, budget.forFile(index.path(), index.size()));
        }
      }
      List<String> names =
          indexName == null ? List.of(weights) : List.copyOf(new TreeSet<>(weightMap.values()));
      ModelFolder folder = new ModelFolder(path, real, pool, names, indexName);
      folder.openShards(weightMap, budget);
      return folder;
    } catch (IOException | RuntimeException | Error e) {
      pool.close();
      throw e;
    }
  }

  private static CheckpointException withoutWeights(Path path, Path real) throws IOException {
    Optional<String> shard = ModelFiles.findShard(real);
    if (shard.isPresent()) {
      String index =
          shard.get().endsWith(".safetensors")
              ? ModelFiles.WEIGHTS.get(0)
              : ModelFiles.WEIGHTS.get(2);
      return new CheckpointException(
          Messages.quote(path)
              + " has shards of a model, such as "
              + Messages.quote(shard.get())
              + ", but not the index that lists them, "
              + Messages.quote(index)
              + "; download or save the index too");
    }
    return new CheckpointException(
        Messages.quote(path)
            + " is a folder without the weights of a model: it has none of "
            + String.join(", ", ModelFiles.WEIGHTS)
            + "; give another folder, or the file itself");
  }

  private static Path realPath(Path folder) throws CheckpointException {
    try {
      return folder.toRealPath();
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot read " + Messages.quote(folder) + ": " + Messages.reason(e) + "; check its name",
          e);
    }
  }

  private static InputFile openInside(Path folder, Path real, String name, ChannelPool pool)
      throws IOException {
    Path file = folder.resolve(name);
    try {
      ModelFiles.requireInside(real, file);
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot read "
              + Messages.quote(file)
              + ", a part of the model: "
              + Messages.reason(e)
              + "; download the model again",
          e);
    }
    return InputFile.open(file, pool);
  }

  private void openShards(Map<String, String> weightMap, HeapBudget budget) throws IOException {
    for (String name : shardNames) {
      InputFile file = openInside(path, real, name, pool);
      Checkpoint shard = CheckpointFormat.open(file, budget.forFile(file.path(), file.size()));
      shards.add(shard);
      shard.metadata().forEach(metadata::putIfAbsent);
      for (TensorInfo tensor : shard.tensors().values()) {
        String listed = weightMap.get(tensor.name());
        if (listed != null && !listed.equals(name)) {
          continue;
        }
        Checkpoint other = shardOf.putIfAbsent(tensor.name(), shard);
        if (other != null) {
          throw new CheckpointException(
              Messages.quote(path)
                  + " has tensor "
                  + Messages.quote(tensor.name())
                  + " in both "
                  + Messages.quote(other.path().getFileName())
                  + " and "
                  + Messages.quote(name)
                  + ", and its index does not say which counts; download or save it again");
        }
        tensors.put(tensor.name(), tensor);
      }
    }
    for (Map.Entry<String, String> entry : weightMap.entrySet()) {
      if (!tensors.containsKey(entry.getKey())) {
        throw new CheckpointException(
            Messages.quote(path.resolve(entry.getValue()))
                + " has no tensor "
                + Messages.quote(entry.getKey())
                + ", which the index of its model puts there; download or save the model again");
      }
    }
  }

  @Override
  public Path path() {
    return path;
  }

  @Override
  public String format() {
    String formats =
        shards.stream().map(Checkpoint::format).distinct().collect(Collectors.joining(" and "));
    return hasIndex() ? formats + " in " + shards.size() + " shards" : formats;
  }

  /** The tensors of all shards, shards by name and each in its order. */
  @Override
  public Map<String, TensorInfo> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  /** That of all shards; where they differ, the first one's counts. */
  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  @Override
  public void read(String tensor, long byteOffset, ByteBuffer target) throws IOException {
    shardOf(tensor).read(tensor, byteOffset, target);
  }

  @Override
  public Optional<FileRegion> region(String tensor) {
    return shardOf(tensor).region(tensor);
  }

  private Checkpoint shardOf(String tensor) {
    Checkpoint shard = shardOf.get(tensor);
    if (shard == null) {
      throw new IllegalArgumentException(
          Messages.quote(path) + " has no tensor " + Messages.quote(tensor));
    }
    return shard;
  }

  /** The names of the files with the weights, sorted. */
  public List<String> shardNames() {
    return shardNames;
  }

  /** The name of the shard that a tensor is in; empty if the model has no such tensor. */
  public Optional<String> shardNameOf(String tensor) {
    return Optional.ofNullable(shardOf.get(tensor))
        .map(shard -> shard.path().getFileName().toString());
  }

  /** Whether the weights have an index; without one there is a single shard. */
  public boolean hasIndex() {
    return indexName != null;
  }

  /**
   * The other files of the folder, as they are now.
   *
   * @throws CheckpointException if there is something that cannot be copied: a link that leads out
   *     of the folder or to a folder, a pipe, a device
   */
  public ModelFiles files() throws CheckpointException {
    Set<String> weights = new HashSet<>(shardNames);
    if (indexName != null) {
      weights.add(indexName);
    }
    return ModelFiles.list(real, weights);
  }

  /**
   * Reads the folder's {@code config.json}; empty if it has none.
   *
   * @throws CheckpointException if it is damaged, or is a link that leads out of the folder
   */
  public Optional<ModelConfig> config() throws IOException {
    if (!Files.exists(path.resolve(ModelConfig.FILE_NAME), LinkOption.NOFOLLOW_LINKS)) {
      return Optional.empty();
    }
    // Not of the folder's pool, which may be closed by the time.
    ChannelPool own = new ChannelPool(1);
    try (InputFile file = openInside(path, real, ModelConfig.FILE_NAME, own)) {
      return Optional.of(ModelConfig.read(file, HeapBudget.of(file.path(), file.size())));
    }
  }

  /** The folder itself, links resolved. */
  Path real() {
    return real;
  }

  /**
   * Starts a folder that takes the place of {@code target} with the commit: shards as those of
   * {@code source}, an index if there are several shards or the source has one, the source's other
   * files ({@link ModelFiles#copied}), and {@code files}.
   *
   * <p>A tensor goes to the shard of the tensor that it comes from, in the order of the plan. What
   * comes from no tensor of the source goes where the one before went. Shards become safetensors:
   * {@code pytorch_model-00001-of-00002.bin} is written as {@code
   * model-00001-of-00002.safetensors}. Shards that nothing goes to are left out.
   *
   * <p>Everything is written to a temporary folder beside the target, made durable and renamed in
   * one step; {@link CheckpointWriter#close}, Ctrl-C and SIGTERM delete it. With {@code overwrite},
   * a folder of that name is replaced if it is empty or looks like a model's, and stays as it is
   * until the commit has succeeded. Only SIGKILL or a loss of power between two renames can leave
   * the old folder under a temporary name beside it.
   *
   * @param files contents by name, written in the place of the source's files of these names or
   *     besides them: a rewritten {@code config.json}, say
   * @throws IllegalArgumentException if two tensors have the same name, or the name of a file is
   *     not plain, that of weights, or of an index
   * @throws CheckpointException if the target exists and may not be replaced, lies inside the
   *     source or around it, or cannot be created; if a file of the source cannot be copied; or if
   *     a tensor cannot be stored ({@link SafeTensors#create(Path, List, Map, boolean)})
   */
  public static CheckpointWriter create(
      Path target,
      ModelFolder source,
      CheckpointPlan plan,
      Map<String, byte[]> files,
      boolean overwrite)
      throws CheckpointException {
    return FolderWriter.create(target, source, plan, files, overwrite);
  }

  /**
   * Refuses an output that lies inside the source, contains it or is it, links included.
   *
   * @throws CheckpointException if so
   */
  public static void requireApart(Path target, ModelFolder source) throws CheckpointException {
    AtomicFolder.requireApart(source.real(), target);
  }

  /**
   * Finds out before any work is done whether {@link #create} could write this folder.
   *
   * @throws CheckpointException as {@link #create}
   */
  public static void requireWritable(Path target, ModelFolder source, boolean overwrite)
      throws CheckpointException {
    source.files();
    AtomicFolder.requireApart(source.real(), target);
    AtomicFolder.create(target, overwrite).close();
  }

  @Override
  public void close() throws IOException {
    pool.close();
  }
}
