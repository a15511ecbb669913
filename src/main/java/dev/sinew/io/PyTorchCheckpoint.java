package dev.sinew.io;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A checkpoint that {@code torch.save} has written in the zip format, the default since PyTorch 1.6
 * ({@code torch/serialization.py}).
 *
 * <p>Nested dictionaries and lists become dotted names, such as {@code state_dict.conv1.weight};
 * nothing is stripped, and values other than tensors are passed over. A tensor at the top is named
 * {@code tensor}. Tensors may share storages and be views with any offset and non-negative strides.
 *
 * <p>Opening reads the archive's directory, {@code data.pkl} and {@code byteorder}, executes
 * nothing, and checks that all tensors lie within the file. Files that hold code (TorchScript
 * archives, pickled classes) or tensors that are not dense are refused.
 *
 * <p>Reading a tensor that is contiguous in the file costs what reading the file costs. One that is
 * not, such as a transposed matrix, is gathered in pieces with up to 256 KiB of memory besides the
 * target. The more is asked for at once, the longer are the runs in the file: ask for 16 MiB rather
 * than 1 MiB when {@link #region} is empty.
 *
 * <p>As with any {@link java.nio.channels.FileChannel}, interrupting a thread while it reads closes
 * the file for all.
 */
public final class PyTorchCheckpoint implements Checkpoint {
  private static final int MAX_PICKLE = 256 << 20;
  private static final int MAX_BYTEORDER = 64;
  // Tensors may overlap, so a small file can describe more data than any disk holds.
  private static final long FREE_EXPANSION = 4L << 30;
  private static final long MAX_EXPANSION = 64;

  /** A tensor and where its storage begins in the file. */
  private record Located(TensorInfo info, long storage, StridedLayout layout) {}

  private final InputFile file;
  private final Map<String, Located> located;
  private final Map<String, TensorInfo> tensors;

  private PyTorchCheckpoint(InputFile file, Map<String, Located> located) {
    this.file = file;
    this.located = located;
    Map<String, TensorInfo> infos = new LinkedHashMap<>();
    located.forEach((name, tensor) -> infos.put(name, tensor.info()));
    this.tensors = Collections.unmodifiableMap(infos);
  }

  /**
   * Opens a checkpoint.
   *
   * @throws CheckpointException one sentence that says what is wrong with the file and what to do
   */
  public static PyTorchCheckpoint open(Path path) throws IOException {
    InputFile file = InputFile.open(path);
    return open(file, HeapBudget.of(path, file.size()));
  }

  /** As {@link #open(Path)}; closing the checkpoint closes the file, and so does a failure. */
  static PyTorchCheckpoint open(InputFile file, HeapBudget budget) throws IOException {
    try {
      return new PyTorchCheckpoint(file, new Opening(file, budget).locate());
    } catch (IOException | RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  @Override
  public Path path() {
    return file.path();
  }

  @Override
  public String format() {
    return "PyTorch zip";
  }

  @Override
  public Map<String, TensorInfo> tensors() {
    return tensors;
  }

  /** Empty: the format has no string metadata. */
  @Override
  public Map<String, String> metadata() {
    return Map.of();
  }

  @Override
  public void read(String tensor, long byteOffset, ByteBuffer target) throws IOException {
    Located located = find(tensor);
    located.info().requireRange(byteOffset, target.remaining());
    String what = "tensor " + Messages.quote(tensor);
    if (located.layout().isContiguous()) {
      file.read(firstByte(located) + byteOffset, target, what);
    } else {
      StridedReader.read(file, what, located.storage(), located.layout(), byteOffset, target);
    }
  }

  @Override
  public Optional<FileRegion> region(String tensor) {
    Located located = find(tensor);
    return located.layout().isContiguous()
        ? Optional.of(new FileRegion(path(), firstByte(located), located.info().bytes()))
        : Optional.empty();
  }

  @Override
  public void close() throws IOException {
    file.close();
  }

  private Located find(String tensor) {
    Located found = located.get(tensor);
    if (found == null) {
      throw new IllegalArgumentException(
          Messages.quote(path()) + " has no tensor " + Messages.quote(tensor));
    }
    return found;
  }

  private static long firstByte(Located located) {
    return located.storage() + located.layout().offset() * located.layout().elementBytes();
  }

  /** The state of {@link #open}: from the file to the places of its tensors. */
  private static final class Opening {
    private final InputFile file;
    private final Path path;
    private final HeapBudget budget;
    private final ZipArchive archive;
    private final Map<ZipArchive.Entry, Long> dataOffsets = new HashMap<>();

    private Opening(InputFile file, HeapBudget budget) throws CheckpointException {
      this.file = file;
      this.path = file.path();
      this.budget = budget;
      this.archive = ZipArchive.open(file, budget);
    }

    private Map<String, Located> locate() throws CheckpointException {
      ZipArchive.Entry pickle = findPickle();
      String root = pickle.name().substring(0, pickle.name().indexOf('/') + 1);
      refuseTorchScript(root);
      checkByteOrder(root);
      Object value = Unpickler.load(archive.content(pickle, MAX_PICKLE), path, budget);
      Map<String, Pickle.Tensor> named =
          StateDictFlattener.flatten(value, path, pickle.size(), budget);

      Map<String, Located> tensors = new LinkedHashMap<>();
      long bytes = 0;
      long fileBytes = Math.min(file.size(), Long.MAX_VALUE / MAX_EXPANSION);
      long limit = Math.max(FREE_EXPANSION, fileBytes * MAX_EXPANSION);
      for (Map.Entry<String, Pickle.Tensor> entry : named.entrySet()) {
        Located tensor = locate(entry.getKey(), entry.getValue(), root);
        if (tensor.info().bytes() > limit - bytes) {
          throw failure(
              "its tensors overlap and expand to more than "
                  + MAX_EXPANSION
                  + " times the file; call contiguous() on those that expand() made and save it"
                  + " again");
        }
        bytes += tensor.info().bytes();
        tensors.put(entry.getKey(), tensor);
      }
      refuseOverlaps();
      return tensors;
    }

    private ZipArchive.Entry findPickle() throws CheckpointException {
      ZipArchive.Entry found = null;
      for (ZipArchive.Entry entry : archive.entries()) {
        int slash = entry.name().indexOf('/');
        if (slash > 0 && entry.name().substring(slash).equals("/data.pkl")) {
          if (found != null) {
            throw failure(
                "it has both "
                    + Messages.quote(found.name())
                    + " and "
                    + Messages.quote(entry.name())
                    + "; save each checkpoint to its own file");
          }
          found = entry;
        }
      }
      if (found == null) {
        throw failure(
            "it is a zip archive without a data.pkl in its top folder, so not a PyTorch"
                + " checkpoint; save the state_dict with torch.save");
      }
      return found;
    }

    private void refuseTorchScript(String root) throws CheckpointException {
      for (ZipArchive.Entry entry : archive.entries()) {
        if (entry.name().equals(root + "constants.pkl")
            || entry.name().startsWith(root + "code/")) {
          throw failure(
              "it is a TorchScript archive, which holds a program; load it with torch.jit.load and"
                  + " save its state_dict() with torch.save");
        }
      }
    }

    private void checkByteOrder(String root) throws CheckpointException {
      ZipArchive.Entry entry = archive.entry(root + "byteorder");
      if (entry == null) {
        return; // PyTorch before 2.1, which wrote on little-endian machines
      }
      byte[] content = archive.content(entry, MAX_BYTEORDER);
      String order = new String(content, StandardCharsets.ISO_8859_1).strip();
      if (order.equals("big")) {
        throw failure(
            "it was saved on a big-endian machine; load it in PyTorch on a little-endian one and"
                + " save it again");
      } else if (!order.equals("little")) {
        throw failure("its byte order " + Messages.quote(order) + " is unknown; save it again");
      }
    }

    private Located locate(String name, Pickle.Tensor tensor, String root)
        throws CheckpointException {
      DType dtype = tensor.elements().dtype();
      if (dtype == null) {
        throw failure(
            name, "has the type " + tensor.elements().name() + ", which Sinew does not have");
      }
      Pickle.Storage storage = tensor.storage();
      DType storageType = storage.type().elements().dtype();
      if (storageType == null) {
        throw failure(name, "has a " + storage.type().name() + ", which Sinew cannot read");
      }
      ZipArchive.Entry entry = archive.entry(root + "data/" + storage.key());
      if (entry == null) {
        throw failure(
            name, "needs the storage " + Messages.quote(storage.key()) + ", which is missing");
      }
      int storageWidth = storageType.bits() / 8;
      if (storage.count() < 0
          || entry.size() % storageWidth != 0
          || storage.count() != entry.size() / storageWidth) {
        throw failure(
            name,
            "says that its storage has "
                + storage.count()
                + " elements of "
                + storageWidth
                + " bytes where the archive has "
                + entry.size()
                + " bytes");
      }
      TensorInfo info = info(name, dtype, tensor.size());
      try {
        StridedLayout layout =
            StridedLayout.of(
                dtype.bits() / 8, tensor.offset(), tensor.size(), tensor.stride(), entry.size());
        return new Located(info, dataOffset(entry), layout);
      } catch (IllegalArgumentException e) {
        throw failure(name, e.getMessage());
      }
    }

    private TensorInfo info(String name, DType dtype, long[] size) throws CheckpointException {
      try {
        return TensorInfo.of(name, dtype, size);
      } catch (IllegalArgumentException e) {
        throw failure(
            name, "has the shape " + Arrays.toString(size) + ", which no tensor can have");
      }
    }

    private long dataOffset(ZipArchive.Entry entry) throws CheckpointException {
      Long known = dataOffsets.get(entry);
      if (known == null) {
        known = archive.dataOffset(entry);
        dataOffsets.put(entry, known);
      }
      return known;
    }

    /** Storages on top of each other are a way to make a small file look large. */
    private void refuseOverlaps() throws CheckpointException {
      List<ZipArchive.Entry> entries = new ArrayList<>(dataOffsets.keySet());
      entries.sort(Comparator.comparingLong(ZipArchive.Entry::headerOffset));
      long end = 0;
      for (ZipArchive.Entry entry : entries) {
        if (entry.headerOffset() < end) {
          throw failure(
              "its entry "
                  + Messages.quote(entry.name())
                  + " overlaps the one before; the file is damaged, so get or save it again");
        }
        end = dataOffsets.get(entry) + entry.size();
      }
    }

    private CheckpointException failure(String tensor, String what) {
      return failure(
          "tensor "
              + Messages.quote(tensor)
              + " "
              + what
              + "; correct it in PyTorch and save it again");
    }

    private CheckpointException failure(String what) {
      return new CheckpointException("cannot read " + Messages.quote(path) + ": " + what);
    }
  }
}
