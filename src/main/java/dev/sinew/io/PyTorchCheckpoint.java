package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.StoredTensors.Located;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A checkpoint that {@code torch.save} has written ({@code torch/serialization.py}), in any of its
 * three layouts: the zip archives since PyTorch 1.6, the sequence of pickles and storages before it
 * (and since, with {@code _use_new_zipfile_serialization=False}), and the tar archives of the first
 * releases. The content tells which one it is.
 *
 * <p>Nested dictionaries and lists become dotted names, such as {@code state_dict.conv1.weight};
 * nothing is stripped, and values other than tensors are passed over. A tensor at the top is named
 * {@code tensor}. Tensors may share storages and be views with any offset and non-negative strides;
 * the device that they were saved from does not matter. A tensor without dimensions over an empty
 * storage, in the older layouts, is an empty vector: PyTorch before 0.4 had no scalars.
 *
 * <p>Opening reads the pickles alone, executes nothing, and checks that all tensors lie within the
 * file. Classes of plain data beside the weights, such as {@code argparse.Namespace} and NumPy
 * scalars, are known by name. Files that hold code (TorchScript archives, pickled models) or any
 * other class, tensors that are not dense, or numbers of a big-endian machine are refused.
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
  static final String BIG_ENDIAN =
      "it was saved on a big-endian machine; load it in PyTorch on a little-endian one and save it"
          + " again";

  private interface Reader {
    Map<String, Located> read(InputFile file, HeapBudget budget) throws CheckpointException;
  }

  private enum Layout {
    ZIP("PyTorch zip", TorchZipLayout::read),
    LEGACY("PyTorch legacy", TorchLegacyLayout::read),
    TAR("PyTorch tar", TorchTarLayout::read);

    private final String words;
    private final Reader reader;

    Layout(String words, Reader reader) {
      this.words = words;
      this.reader = reader;
    }

    private static Layout of(byte[] start) {
      if (TorchLegacyLayout.recognizes(start)) {
        return LEGACY;
      }
      // A zip archive may have anything where tar has its signature.
      return TarArchive.recognizes(start) && !ZipArchive.recognizes(start) ? TAR : ZIP;
    }
  }

  private final InputFile file;
  private final Layout layout;
  private final Map<String, Located> located;
  private final Map<String, TensorInfo> tensors;

  private PyTorchCheckpoint(InputFile file, Layout layout, HeapBudget budget)
      throws CheckpointException {
    this.file = file;
    this.layout = layout;
    this.located = layout.reader.read(file, budget);
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
      return new PyTorchCheckpoint(file, Layout.of(file.start()), budget);
    } catch (IOException | RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  /** The layout in words: {@code PyTorch zip}, {@code PyTorch legacy} or {@code PyTorch tar}. */
  @Override
  public String format() {
    return layout.words;
  }

  /** Whether a file is, by its beginning, in one of the layouts; it may still be damaged. */
  static boolean recognizes(InputFile file, byte[] start) throws CheckpointException {
    return switch (Layout.of(start)) {
      case LEGACY -> true;
      case TAR -> TorchTarLayout.recognizes(file);
      case ZIP -> ZipArchive.recognizes(start);
    };
  }

  @Override
  public Path path() {
    return file.path();
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
}
