package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Storage;
import dev.sinew.io.Pickle.StorageType;
import dev.sinew.io.StoredTensors.Data;
import dev.sinew.io.StoredTensors.Located;
import dev.sinew.model.CheckpointException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The layout of {@code torch.save} since PyTorch 1.6: a zip archive with the pickle in {@code
 * ROOT/data.pkl}, {@code ROOT/byteorder}, and each storage in {@code ROOT/data/KEY}.
 */
final class TorchZipLayout {
  private static final int MAX_PICKLE = 256 << 20;
  private static final int MAX_BYTEORDER = 64;

  private final InputFile file;
  private final HeapBudget budget;
  private final ZipArchive archive;
  private final Map<ZipArchive.Entry, Long> dataOffsets = new HashMap<>();

  private TorchZipLayout(InputFile file, HeapBudget budget) throws CheckpointException {
    this.file = file;
    this.budget = budget;
    this.archive = ZipArchive.open(file, budget);
  }

  /** The tensors of the file, each known to lie within it. */
  static Map<String, Located> read(InputFile file, HeapBudget budget) throws CheckpointException {
    return new TorchZipLayout(file, budget).locate();
  }

  private Map<String, Located> locate() throws CheckpointException {
    ZipArchive.Entry pickle = findPickle();
    String root = pickle.name().substring(0, pickle.name().indexOf('/') + 1);
    refuseTorchScript(root);
    checkByteOrder(root);
    long offset = archive.dataOffset(pickle, MAX_PICKLE);
    PickleInput in = new PickleInput(file, offset, offset + pickle.size(), "its data.pkl");
    Object value = Unpickler.load(in, TorchZipLayout::storage, budget);
    Map<String, Pickle.Tensor> named =
        StateDictFlattener.flatten(value, file.path(), pickle.size(), budget);
    Map<String, Located> tensors =
        StoredTensors.locate(named, file, key -> data(root + "data/" + key), false);
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
      if (entry.name().equals(root + "constants.pkl") || entry.name().startsWith(root + "code/")) {
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
      throw failure(PyTorchCheckpoint.BIG_ENDIAN);
    } else if (!order.equals("little")) {
      throw failure("its byte order " + Messages.quote(order) + " is unknown; save it again");
    }
  }

  // ('storage', type, key, location, count)
  private static Storage storage(Object id) throws PickleException {
    if (!(id instanceof Sequence tuple) || !tuple.isTuple()) {
      throw PickleException.damaged("a persistent id is not a tuple");
    }
    Arguments fields = new Arguments("a persistent id", tuple.items());
    if (fields.count() != 5 || !"storage".equals(fields.value(0))) {
      throw PickleException.damaged("a persistent id is not that of a storage");
    }
    StorageType type = fields.get(1, StorageType.class, "a storage class");
    return new Storage(type, fields.get(2, String.class, "a key"), fields.integer(4));
  }

  private Data data(String name) throws CheckpointException {
    ZipArchive.Entry entry = archive.entry(name);
    if (entry == null) {
      return null;
    }
    Long offset = dataOffsets.get(entry);
    if (offset == null) {
      offset = archive.dataOffset(entry, Long.MAX_VALUE);
      dataOffsets.put(entry, offset);
    }
    return new Data(offset, entry.size());
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

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file.path()) + ": " + what);
  }
}
