package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Storage;
import dev.sinew.io.Pickle.StorageType;
import dev.sinew.io.Pickle.Tensor;
import dev.sinew.io.Pickle.TensorClass;
import dev.sinew.io.StoredTensors.Data;
import dev.sinew.io.StoredTensors.Located;
import dev.sinew.model.CheckpointException;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/**
 * The layout of {@code torch.save} before 0.1.10, {@code legacy_load} in {@code
 * torch/serialization.py}: a tar archive of four entries.
 *
 * <ul>
 *   <li>{@code sys_info}: a pickled dictionary of facts about the machine
 *   <li>{@code storages}: a pickled count; for each storage a pickled (key, location, class), a
 *       64-bit count of elements and the elements; a pickled list of views (key, key of the
 *       storage, offset, count)
 *   <li>{@code tensors}: a pickled count; for each tensor a pickled (key, key of the storage,
 *       class), then its rank (32 bits and 32 unused), sizes, strides and offset of 64 bits each
 *   <li>{@code pickle}: the object, which refers to tensors and storages by their keys as text
 * </ul>
 *
 * <p>All numbers are little-endian, and all keys integers.
 */
final class TorchTarLayout {
  private static final Set<String> NAMES = Set.of("sys_info", "storages", "tensors", "pickle");

  /**
   * A file of torch.save has four entries, and perhaps folders; others are not searched through.
   */
  private static final int ENTRIES_TO_RECOGNIZE = 16;

  private static final int MAX_RANK = 64;
  private static final int ENTRY_COST = 200;
  private static final int OBJECT_COST = 300;

  private final InputFile file;
  private final HeapBudget budget;
  private final Map<String, TarArchive.Entry> entries = new HashMap<>();
  private final Map<String, Data> places = new HashMap<>();

  /** {@link Storage}s and {@link Tensor}s by their keys. */
  private final Map<Long, Object> objects = new HashMap<>();

  private TorchTarLayout(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
  }

  /**
   * Whether a tar archive has an entry of torch.save near its beginning.
   *
   * @throws CheckpointException if it is damaged before
   */
  static boolean recognizes(InputFile file) throws CheckpointException {
    TarArchive archive = new TarArchive(file, HeapBudget.of(file.path(), file.size()));
    for (int i = 0; i < ENTRIES_TO_RECOGNIZE; i++) {
      TarArchive.Entry entry = archive.next();
      if (entry == null) {
        return false;
      }
      if (NAMES.contains(entry.name())) {
        return true;
      }
    }
    return false;
  }

  /** The tensors of the file, each known to lie within it. */
  static Map<String, Located> read(InputFile file, HeapBudget budget) throws CheckpointException {
    return new TorchTarLayout(file, budget).locate();
  }

  private Map<String, Located> locate() throws CheckpointException {
    readEntries();
    if (entries.containsKey("sys_info")) {
      TorchLegacyLayout.checkMachine(Unpickler.load(input("sys_info"), budget), file);
    }
    readAll("storages", this::readStorages);
    readAll("tensors", this::readTensors);
    PickleInput in = input("pickle");
    Object value = Unpickler.load(in, this::resolve, budget);
    Map<String, Tensor> named =
        StateDictFlattener.flatten(value, file.path(), in.position(), budget);
    return StoredTensors.locate(named, file, places::get, true);
  }

  private void readEntries() throws CheckpointException {
    TarArchive archive = new TarArchive(file, budget);
    for (TarArchive.Entry entry = archive.next(); entry != null; entry = archive.next()) {
      if (!NAMES.contains(entry.name())) {
        continue;
      }
      budget.charge(ENTRY_COST);
      if (!entry.isFile()) {
        throw failure(
            "its entry " + Messages.quote(entry.name()) + " is no file; get or save it again");
      }
      if (entries.put(entry.name(), entry) != null) {
        throw failure(
            "it has two entries " + Messages.quote(entry.name()) + "; get or save it again");
      }
    }
  }

  private PickleInput input(String name) throws CheckpointException {
    TarArchive.Entry entry = entries.get(name);
    if (entry == null) {
      throw failure(
          "it is a tar archive without an entry "
              + Messages.quote(name)
              + ", so not a whole PyTorch checkpoint; get or save it again, or give the model file"
              + " in it");
    }
    return new PickleInput(
        file, entry.offset(), entry.offset() + entry.size(), "its entry '" + name + "'");
  }

  private interface Part {
    void read(PickleInput in) throws PickleException, CheckpointException;
  }

  /** Reads an entry, which must have nothing more than what its counts announce. */
  private void readAll(String name, Part part) throws CheckpointException {
    PickleInput in = input(name);
    try {
      part.read(in);
      if (in.hasRemaining()) {
        throw PickleException.damaged("there is more than its counts announce");
      }
    } catch (PickleException e) {
      throw e.at(in);
    }
  }

  private void readStorages(PickleInput in) throws PickleException, CheckpointException {
    long count = count(in);
    for (long i = 0; i < count; i++) {
      Arguments fields = tuple(Unpickler.load(in, budget), "the description of a storage", 3);
      long key = fields.integer(0);
      StorageType type = fields.get(2, StorageType.class, "a storage class");
      String name = Long.toString(key);
      Data data = StoredTensors.read(in, type, name);
      places.put(name, data);
      int width = type.elements().dtype().bits() / 8;
      add(key, new Storage(type, name, data.bytes() / width));
    }
    Object views = Unpickler.load(in, budget);
    if (!(views instanceof Sequence list)) {
      throw PickleException.damaged("the views of storages are no list");
    }
    for (Object view : list.items()) {
      Arguments fields = tuple(view, "a view of a storage", 4);
      Storage root = storage(fields.integer(1));
      long offset = fields.integer(2);
      long size = fields.integer(3);
      if (offset < 0 || size < 0 || offset > root.viewCount() - size) {
        throw PickleException.damaged(
            "a view of "
                + size
                + " elements from "
                + offset
                + " on lies outside its storage of "
                + root.viewCount()
                + " elements");
      }
      long first = root.viewOffset() + offset;
      add(fields.integer(0), new Storage(root.type(), root.key(), root.count(), first, size));
    }
  }

  private void readTensors(PickleInput in) throws PickleException, CheckpointException {
    long count = count(in);
    for (long i = 0; i < count; i++) {
      Arguments fields = tuple(Unpickler.load(in, budget), "the description of a tensor", 3);
      TensorClass type = fields.get(2, TensorClass.class, "a tensor class");
      Storage storage = fields.value(1) == Pickle.NONE ? null : storage(fields.integer(1));
      if (storage != null && !storage.type().elements().equals(type.elements())) {
        throw PickleException.damaged(
            "a " + type.name() + " has a " + storage.type().name() + " for its storage");
      }
      int rank = in.int32();
      if (rank < 0 || rank > MAX_RANK) {
        throw PickleException.damaged(
            "a tensor has " + rank + " dimensions (limit: " + MAX_RANK + ")");
      }
      in.skip(Integer.BYTES); // not written on purpose, so it may hold anything
      long[] size = numbers(in, rank);
      long[] stride = numbers(in, rank);
      add(fields.integer(0), new Tensor(storage, type.elements(), in.int64(), size, stride));
    }
  }

  private static long[] numbers(PickleInput in, int count)
      throws PickleException, CheckpointException {
    long[] numbers = new long[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = in.int64();
    }
    return numbers;
  }

  private long count(PickleInput in) throws PickleException, CheckpointException {
    if (Unpickler.load(in, budget) instanceof Long count && count >= 0) {
      return count;
    }
    throw PickleException.damaged("the count that it begins with is no count");
  }

  private static Arguments tuple(Object value, String what, int fields) throws PickleException {
    if (!(value instanceof Sequence tuple) || tuple.items().size() != fields) {
      throw PickleException.damaged(what + " is no tuple of " + fields);
    }
    return new Arguments(what, tuple.items());
  }

  private void add(long key, Object object) throws PickleException, CheckpointException {
    budget.charge(OBJECT_COST);
    if (objects.put(key, object) != null) {
      throw PickleException.damaged("two objects have the key " + key);
    }
  }

  private Storage storage(long key) throws PickleException {
    if (objects.get(key) instanceof Storage storage) {
      return storage;
    }
    throw PickleException.damaged("it refers to a storage " + key + ", which is missing");
  }

  private Object resolve(Object id) throws PickleException {
    try {
      Object object = id instanceof String key ? objects.get(Long.parseLong(key)) : null;
      if (object != null) {
        return object;
      }
    } catch (NumberFormatException e) {
      // As if it were missing.
    }
    throw PickleException.damaged(
        "it refers to an object "
            + Messages.quote(id instanceof String key ? key : Pickle.typeName(id))
            + ", which is missing");
  }

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file.path()) + ": " + what);
  }
}
