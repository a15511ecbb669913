package dev.sinew.io;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * From tensors as a pickle describes them to their places in the file, with every check that does
 * not depend on the layout of {@code torch.save}.
 */
final class StoredTensors {
  // Tensors may overlap, so a small file can describe more data than any disk holds.
  private static final long FREE_EXPANSION = 4L << 30;
  private static final long MAX_EXPANSION = 64;

  /** A tensor and where its storage begins in the file. */
  record Located(TensorInfo info, long storage, StridedLayout layout) {}

  /** Where the data of a storage lies in the file; known to lie within it. */
  record Data(long offset, long bytes) {}

  /** Where a layout keeps its storages. */
  interface Storages {
    /** The data of that key, or null if there is none. */
    Data find(String key) throws CheckpointException;
  }

  private final Path path;
  private final Storages storages;
  private final boolean scalarsAreEmpty;

  private StoredTensors(Path path, Storages storages, boolean scalarsAreEmpty) {
    this.path = path;
    this.storages = storages;
    this.scalarsAreEmpty = scalarsAreEmpty;
  }

  /**
   * Reads a storage of the layouts before PyTorch 1.6: a 64-bit count of elements, which is
   * returned as bytes, and the elements, which are passed over.
   *
   * @throws CheckpointException if there cannot be so many
   */
  static Data read(PickleInput in, Pickle.StorageType type, String key)
      throws PickleException, CheckpointException {
    String cannot =
        "cannot read "
            + Messages.quote(in.file().path())
            + ": its storage "
            + Messages.quote(key)
            + " ";
    if (type.elements().dtype() == null) {
      throw new CheckpointException(
          cannot + "is a " + type.name() + ", which Sinew cannot read; save the others without it");
    }
    int width = type.elements().dtype().bits() / 8;
    long count = in.int64();
    if (count < 0 || count > in.remaining() / width) {
      throw new CheckpointException(
          cannot
              + "has "
              + count
              + " elements of "
              + width
              + " bytes where "
              + in.remaining()
              + " bytes are left; the file is damaged or truncated, so get or save it again");
    }
    Data data = new Data(in.offset(), count * width);
    in.skip(data.bytes());
    return data;
  }

  /**
   * The places of tensors, in their order.
   *
   * @param scalarsAreEmpty whether a tensor without dimensions over an empty storage is an empty
   *     vector, as before PyTorch 0.4, which had no scalars; else it is an error
   * @throws CheckpointException if a tensor has a type that Sinew does not have, does not lie
   *     within its storage, or if all together are beyond any proportion to the file
   */
  static Map<String, Located> locate(
      Map<String, Pickle.Tensor> named, InputFile file, Storages storages, boolean scalarsAreEmpty)
      throws CheckpointException {
    StoredTensors stored = new StoredTensors(file.path(), storages, scalarsAreEmpty);
    Map<String, Located> tensors = new LinkedHashMap<>();
    long bytes = 0;
    long fileBytes = Math.min(file.size(), Long.MAX_VALUE / MAX_EXPANSION);
    long limit = Math.max(FREE_EXPANSION, fileBytes * MAX_EXPANSION);
    for (Map.Entry<String, Pickle.Tensor> entry : named.entrySet()) {
      Located tensor = stored.locate(entry.getKey(), entry.getValue());
      if (tensor.info().bytes() > limit - bytes) {
        throw new CheckpointException(
            "cannot read "
                + Messages.quote(file.path())
                + ": its tensors overlap and expand to more than "
                + MAX_EXPANSION
                + " times the file; call contiguous() on those that expand() made and save it"
                + " again");
      }
      bytes += tensor.info().bytes();
      tensors.put(entry.getKey(), tensor);
    }
    return tensors;
  }

  private Located locate(String name, Pickle.Tensor tensor) throws CheckpointException {
    DType dtype = tensor.elements().dtype();
    if (dtype == null) {
      throw failure(
          name, "has the type " + tensor.elements().name() + ", which Sinew does not have");
    }
    int width = dtype.bits() / 8;
    Data data = new Data(0, 0);
    long viewCount = 0;
    if (tensor.storage() != null) {
      data = viewed(name, tensor.storage());
      viewCount = tensor.storage().viewCount();
    }
    long[] size = tensor.size();
    long[] stride = tensor.stride();
    if (scalarsAreEmpty && size.length == 0 && viewCount == 0) {
      size = new long[] {0};
      stride = new long[] {1};
    }
    TensorInfo info = info(name, dtype, size);
    try {
      StridedLayout layout = StridedLayout.of(width, tensor.offset(), size, stride, data.bytes());
      return new Located(info, data.offset(), layout);
    } catch (IllegalArgumentException e) {
      throw failure(name, e.getMessage());
    }
  }

  /** The part of the data that a storage consists of: all of it, unless it is a view. */
  private Data viewed(String name, Pickle.Storage storage) throws CheckpointException {
    DType type = storage.type().elements().dtype();
    if (type == null) {
      throw failure(name, "has a " + storage.type().name() + ", which Sinew cannot read");
    }
    Data data = storages.find(storage.key());
    if (data == null) {
      throw failure(
          name, "needs the storage " + Messages.quote(storage.key()) + ", which is missing");
    }
    int width = type.bits() / 8;
    if (data.bytes() % width != 0 || storage.count() != data.bytes() / width) {
      throw failure(
          name,
          "says that its storage has "
              + storage.count()
              + " elements of "
              + width
              + " bytes where the file has "
              + data.bytes()
              + " bytes");
    }
    if (storage.viewOffset() < 0
        || storage.viewCount() < 0
        || storage.viewOffset() > storage.count() - storage.viewCount()) {
      throw failure(
          name,
          "has a view of "
              + storage.viewCount()
              + " elements from "
              + storage.viewOffset()
              + " on, which lies outside its storage of "
              + storage.count()
              + " elements");
    }
    return new Data(data.offset() + storage.viewOffset() * width, storage.viewCount() * width);
  }

  private TensorInfo info(String name, DType dtype, long[] size) throws CheckpointException {
    try {
      return TensorInfo.of(name, dtype, size);
    } catch (IllegalArgumentException e) {
      throw failure(name, "has the shape " + Arrays.toString(size) + ", which no tensor can have");
    }
  }

  private CheckpointException failure(String tensor, String what) {
    return new CheckpointException(
        "cannot read "
            + Messages.quote(path)
            + ": tensor "
            + Messages.quote(tensor)
            + " "
            + what
            + "; correct it in PyTorch and save it again");
  }
}
