package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Dictionary;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Tensor;
import dev.sinew.model.CheckpointException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Names the tensors of nested dictionaries and lists: the keys and indices on the way to a tensor,
 * joined by dots. Integer keys use their decimal text; other values than tensors are passed over.
 *
 * <p>The memo lets a small pickle share one container many times, so the number of values visited,
 * the depth and the length of a name are bounded, and names are charged to the heap budget.
 */
final class StateDictFlattener {
  /** Values without sharing take at least a byte each; this many more are for what is shared. */
  private static final long SHARED_VALUES = 100_000;

  private static final int MAX_DEPTH = 1000;
  private static final int MAX_NAME = 4096;
  private static final int TENSOR_COST = 600;

  /** A container on the way down: its remaining children and the key of the current one. */
  private static final class Level {
    private final Object container;
    private final Iterator<? extends Map.Entry<?, ?>> entries;
    private final Iterator<Object> items;
    private long index = -1;
    private Object key;

    private Level(Object container) {
      this.container = container;
      this.entries =
          container instanceof Dictionary dictionary
              ? dictionary.entries().entrySet().iterator()
              : null;
      this.items = container instanceof Sequence sequence ? sequence.items().iterator() : null;
    }

    private boolean hasNext() {
      return entries != null ? entries.hasNext() : items.hasNext();
    }

    private Object next() {
      if (entries != null) {
        Map.Entry<?, ?> entry = entries.next();
        key = entry.getKey();
        return entry.getValue();
      }
      key = ++index;
      return items.next();
    }
  }

  private final Path file;
  private final long maxValues;
  private final HeapBudget budget;
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final List<Level> path = new ArrayList<>();
  private final Set<Object> onPath = Collections.newSetFromMap(new IdentityHashMap<>());
  private long visited;

  private StateDictFlattener(Path file, long pickleBytes, HeapBudget budget) {
    this.file = file;
    this.maxValues = pickleBytes + SHARED_VALUES;
    this.budget = budget;
  }

  /**
   * The tensors below {@code root} in the order of the file; a tensor that is the root itself is
   * named {@code tensor}.
   *
   * @param pickleBytes the size of the pickle that described {@code root}
   * @throws CheckpointException if there is none, if two have the same name, or if a limit is hit
   */
  static Map<String, Tensor> flatten(Object root, Path file, long pickleBytes, HeapBudget budget)
      throws CheckpointException {
    StateDictFlattener flattener = new StateDictFlattener(file, pickleBytes, budget);
    Tensor only = flattener.tensor(root);
    if (only != null) {
      return Map.of("tensor", only);
    }
    flattener.walk(root);
    if (flattener.tensors.isEmpty()) {
      throw flattener.failure(
          "it holds no tensors but a "
              + Messages.brief(Pickle.typeName(root))
              + "; save the model's state_dict");
    }
    return flattener.tensors;
  }

  private void walk(Object root) throws CheckpointException {
    visit(root);
    while (!path.isEmpty()) {
      Level level = path.get(path.size() - 1);
      if (level.hasNext()) {
        visit(level.next());
      } else {
        path.remove(path.size() - 1);
        onPath.remove(level.container);
      }
    }
  }

  private void visit(Object value) throws CheckpointException {
    if (++visited > maxValues) {
      throw failure(
          "it expands to more than "
              + maxValues
              + " values, as no state_dict of its size does; save a plain state_dict");
    }
    Tensor tensor = tensor(value);
    if (tensor != null) {
      String name = name();
      budget.charge(TENSOR_COST + 2L * name.length());
      if (tensors.put(name, tensor) != null) {
        throw failure(
            "two of its tensors have the name "
                + Messages.quote(name)
                + "; rename one and save it again");
      }
    } else if (value instanceof Sequence || value instanceof Dictionary) {
      if (path.size() >= MAX_DEPTH) {
        throw failure(
            "its containers are nested more than " + MAX_DEPTH + " deep; save a plain state_dict");
      }
      if (!onPath.add(value)) {
        throw failure("a container in it contains itself; save a plain state_dict");
      }
      path.add(new Level(value));
    }
  }

  private Tensor tensor(Object value) throws CheckpointException {
    try {
      return Pickle.tensor(value);
    } catch (PickleException e) {
      throw failure(e.getMessage());
    }
  }

  private String name() throws CheckpointException {
    StringBuilder name = new StringBuilder();
    for (int i = 0; i < path.size(); i++) {
      Object key = path.get(i).key;
      if (!(key instanceof String) && !(key instanceof Long)) {
        throw failure(
            "a tensor in it has a key of type "
                + Messages.brief(Pickle.typeName(key))
                + ", and only text and integers make a name; save a plain state_dict");
      }
      String part = key.toString();
      if (name.length() + 1L + part.length() > MAX_NAME) {
        throw failure(
            "a tensor in it has a name of more than "
                + MAX_NAME
                + " characters; save a plain state_dict");
      }
      name.append(i == 0 ? "" : ".").append(part);
    }
    return name.toString();
  }

  private CheckpointException failure(String what) {
    return new CheckpointException("cannot read " + Messages.quote(file) + ": " + what);
  }
}
