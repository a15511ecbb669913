package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Dictionary;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Storage;
import dev.sinew.io.Pickle.StorageType;
import dev.sinew.io.StoredTensors.Data;
import dev.sinew.io.StoredTensors.Located;
import dev.sinew.model.CheckpointException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/**
 * The layout of {@code torch.save} from 0.1.10 to 1.5, {@code _legacy_save} in {@code
 * torch/serialization.py}: five pickles one after the other (a magic number, the protocol's number,
 * facts about the machine, the object, the keys of its storages), then for each key a 64-bit count
 * of elements and the elements. All numbers are little-endian.
 *
 * <p>How wide an element is, the file says only in the object, where a storage is first referred
 * to.
 */
final class TorchLegacyLayout {
  private static final int LEAST_MAGIC = 8;
  private static final long PROTOCOL = 1001;
  private static final int STORAGE_COST = 250;

  /** The integer 0x1950a86a20f9469cfc6c as {@code LONG1}, and {@code STOP}. */
  private static final byte[] MAGIC = HexFormat.of().parseHex("8a0a6cfc9c46f9206aa850192e");

  private static final int FRAME = 0x95;
  private static final int FRAME_BYTES = 9;

  private final InputFile file;
  private final HeapBudget budget;
  private final PickleInput in;

  /** What the object says first of each storage, and where its data lies, once that is known. */
  private final Map<String, Storage> storages = new HashMap<>();

  private final Map<String, Storage> views = new HashMap<>();
  private final Map<String, Data> places = new HashMap<>();

  private TorchLegacyLayout(InputFile file, HeapBudget budget) {
    this.file = file;
    this.budget = budget;
    this.in = new PickleInput(file, 0, file.size(), "the file");
  }

  /** Whether a file begins with the magic number, in any protocol that has it; it may be cut. */
  static boolean recognizes(byte[] start) {
    if (start.length < 3 || start[0] != (byte) 0x80 || start[1] < 2 || start[1] > 5) {
      return false;
    }
    int from = (start[2] & 0xff) == FRAME ? 2 + FRAME_BYTES : 2;
    int count = Math.min(MAGIC.length, start.length - from);
    return count >= LEAST_MAGIC && Arrays.equals(MAGIC, 0, count, start, from, from + count);
  }

  /** The tensors of the file, each known to lie within it. */
  static Map<String, Located> read(InputFile file, HeapBudget budget) throws CheckpointException {
    return new TorchLegacyLayout(file, budget).locate();
  }

  private Map<String, Located> locate() throws CheckpointException {
    Unpickler.load(in, budget); // the magic number, by which the file was recognised
    Object protocol = Unpickler.load(in, budget);
    if (!Long.valueOf(PROTOCOL).equals(protocol)) {
      throw failure(
          "its version "
              + (protocol instanceof Long ? protocol : "is no integer but a " + typeName(protocol))
              + " is unknown; load it with torch.load and save it again");
    }
    checkMachine(Unpickler.load(in, budget), file);
    long begin = in.position();
    Object value = Unpickler.load(in, this::storage, budget);
    Map<String, Pickle.Tensor> named =
        StateDictFlattener.flatten(value, file.path(), in.position() - begin, budget);
    readStorages(Unpickler.load(in, budget));
    refuseAnother();
    return StoredTensors.locate(named, file, places::get, true);
  }

  /**
   * Checks the facts about the machine that a file was saved on.
   *
   * @throws CheckpointException if it was big-endian
   */
  static void checkMachine(Object facts, InputFile file) throws CheckpointException {
    boolean big =
        facts instanceof Dictionary dictionary
            && dictionary.entries().get("little_endian") == Pickle.FALSE;
    if (big || !(facts instanceof Dictionary)) {
      throw new CheckpointException(
          "cannot read "
              + Messages.quote(file.path())
              + ": "
              + (big
                  ? PyTorchCheckpoint.BIG_ENDIAN
                  : "instead of facts about the machine it holds a "
                      + typeName(facts)
                      + "; the file is damaged, so get or save it again"));
    }
  }

  // ('storage', type, key, location, count, None or (view key, offset, view count))
  private Storage storage(Object id) throws PickleException, CheckpointException {
    if (!(id instanceof Sequence tuple) || !tuple.isTuple()) {
      throw PickleException.damaged("a persistent id is not a tuple");
    }
    Arguments fields = new Arguments("a persistent id", tuple.items());
    if (fields.count() != 6 || !"storage".equals(fields.value(0))) {
      throw PickleException.damaged("a persistent id is not that of a storage");
    }
    StorageType type = fields.get(1, StorageType.class, "a storage class");
    String key = fields.get(2, String.class, "a key");
    Storage storage = new Storage(type, key, fields.integer(4));
    Storage first = storages.putIfAbsent(key, storage);
    budget.charge(first == null ? STORAGE_COST : 0);
    if (!(fields.value(5) instanceof Sequence view)) {
      return storage;
    }
    Arguments part = new Arguments("a view of a storage", view.items());
    String viewKey = part.get(0, String.class, "a key");
    Storage viewed = new Storage(type, key, storage.count(), part.integer(1), part.integer(2));
    Storage known = views.putIfAbsent(viewKey, viewed);
    budget.charge(known == null ? STORAGE_COST : 0);
    if (known != null && !known.equals(viewed)) {
      throw PickleException.damaged(
          "the view " + Messages.quote(viewKey) + " of a storage is described in two ways");
    }
    return viewed;
  }

  private void readStorages(Object keys) throws CheckpointException {
    if (!(keys instanceof Sequence list)) {
      throw failure(
          "instead of the keys of its storages it holds a "
              + typeName(keys)
              + "; the file is damaged, so get or save it again");
    }
    try {
      for (Object key : list.items()) {
        Storage storage = key instanceof String text ? storages.get(text) : null;
        if (storage == null) {
          throw failure(
              "it has a storage "
                  + Messages.quote(key instanceof String text ? text : typeName(key))
                  + " that nothing refers to, so that its size is unknown; save it again");
        }
        if (places.put(storage.key(), StoredTensors.read(in, storage.type(), storage.key()))
            != null) {
          throw failure(
              "it has two storages "
                  + Messages.quote(storage.key())
                  + "; the file is damaged, so get or save it again");
        }
      }
    } catch (PickleException e) {
      throw e.at(in);
    }
  }

  /** Several objects may follow each other in one file; to read the first alone would lose data. */
  private void refuseAnother() throws CheckpointException {
    byte[] next = new byte[(int) Math.min(in.remaining(), 2 + FRAME_BYTES + MAGIC.length)];
    file.read(in.offset(), ByteBuffer.wrap(next), "the end");
    if (recognizes(next)) {
      throw failure(
          "another object of torch.save follows the first at byte "
              + in.position()
              + "; load both with torch.load and save each to its own file");
    }
  }

  private static String typeName(Object value) {
    return Messages.brief(Pickle.typeName(value));
  }

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file.path()) + ": " + what);
  }
}
