package dev.sinew.io;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * The values that {@link Unpickler} makes. Text is a {@link String}, an integer of up to 64 bits a
 * {@link Long}; what cannot lead to a tensor is {@link Opaque}.
 *
 * <p>Containers have identity equality: comparing contents would recurse, without end when a list
 * contains itself.
 */
final class Pickle {
  private Pickle() {}

  static final Opaque NONE = new Opaque("NoneType");
  static final Opaque TRUE = new Opaque("bool");
  static final Opaque FALSE = new Opaque("bool");

  /** A value whose content is of no interest, such as a float, bytes, None or a NumPy array. */
  static final class Opaque {
    private final String type;
    private final boolean stateful;

    Opaque(String type) {
      this(type, false);
    }

    /**
     * @param stateful whether a pickle may set its state, which is passed over
     */
    Opaque(String type, boolean stateful) {
      this.type = type;
      this.stateful = stateful;
    }

    String type() {
      return type;
    }

    boolean isStateful() {
      return stateful;
    }
  }

  /** A list, tuple, set or deque, in the order of the file. */
  static final class Sequence {
    private final String type;
    private final List<Object> items;

    Sequence(String type, List<Object> items) {
      this.type = type;
      this.items = items;
    }

    static Sequence tuple(List<Object> items) {
      return new Sequence("tuple", items);
    }

    String type() {
      return type;
    }

    List<Object> items() {
      return items;
    }

    boolean isTuple() {
      return type.equals("tuple");
    }

    /** Whether a pickle adds to it as to a {@code list} or {@code set}. */
    boolean isExtendedAs(String kind) {
      return type.equals(kind) || (type.equals("deque") && kind.equals("list"));
    }
  }

  /**
   * A dictionary in insertion order; assigning to a key again replaces its value in place, as in
   * Python. Keys other than text and integers never equal each other here: they cannot name a
   * tensor, so nothing looks them up.
   */
  static final class Dictionary {
    private final String type;
    private final boolean attributes;
    // Allocated on demand: a byte of a pickle makes an empty dictionary.
    private Map<Object, Object> entries;

    Dictionary(String type) {
      this(type, false);
    }

    /**
     * @param attributes whether this stands for an object whose attributes are the entries
     */
    Dictionary(String type, boolean attributes) {
      this.type = type;
      this.attributes = attributes;
    }

    boolean hasAttributes() {
      return attributes;
    }

    String type() {
      return type;
    }

    void put(Object key, Object value) {
      if (entries == null) {
        entries = new LinkedHashMap<>();
      }
      boolean names = key instanceof String || key instanceof Long;
      entries.put(names ? key : new Opaque(typeName(key)), value);
    }

    boolean isEmpty() {
      return entries == null;
    }

    /** The entries in order; keys are {@link String}, {@link Long} or {@link Opaque}. */
    Map<Object, Object> entries() {
      return entries == null ? Map.of() : entries;
    }
  }

  /**
   * An element type of PyTorch.
   *
   * @param name as Python prints it, for example {@code torch.float32}
   * @param dtype what Sinew calls it; null if it has no such type
   */
  record ElementType(String name, DType dtype) {}

  /** The class of a storage; an untyped storage counts bytes and says {@code torch.uint8}. */
  record StorageType(String name, ElementType elements) {}

  /**
   * What a persistent id says of a storage, nothing checked but the types of the fields.
   *
   * @param key names the data in the file
   * @param count the elements of the data
   * @param viewOffset the first element of the data that this storage consists of; 0 but for views,
   *     which PyTorch had before 0.4
   * @param viewCount the number of elements that it consists of
   */
  record Storage(StorageType type, String key, long count, long viewOffset, long viewCount) {
    Storage(StorageType type, String key, long count) {
      this(type, key, count, 0, count);
    }
  }

  /**
   * A tensor as the file describes it, nothing checked but the types of the fields.
   *
   * @param storage null if it has none, as empty tensors of PyTorch before 0.2
   * @param offset in elements, as are the strides
   */
  record Tensor(Storage storage, ElementType elements, long offset, long[] size, long[] stride) {}

  /** A class such as {@code torch.FloatTensor}, of which PyTorch before 0.2 wrote instances. */
  record TensorClass(String name, ElementType elements) {}

  /**
   * A tensor, parameter or variable that a pickle makes first and fills later, by setting its
   * state.
   */
  static final class LateTensor {
    private final String type;
    private Tensor tensor;

    LateTensor(String type) {
      this.type = type;
    }

    String type() {
      return type;
    }

    void set(Tensor tensor) {
      this.tensor = tensor;
    }
  }

  /**
   * The tensor that a value is, or null if it is none.
   *
   * @throws PickleException if it is a tensor that was never filled
   */
  static Tensor tensor(Object value) throws PickleException {
    if (value instanceof LateTensor late) {
      if (late.tensor == null) {
        throw PickleException.damaged("there is a " + late.type + " without a state");
      }
      return late.tensor;
    }
    return value instanceof Tensor tensor ? tensor : null;
  }

  /** A function or class that a pickle may call; it makes values of this file and nothing else. */
  record Function(String name, Body body) {
    interface Body {
      Object apply(Arguments arguments) throws PickleException;
    }
  }

  /** The Python type of a value, for messages. */
  static String typeName(Object value) {
    if (value instanceof String) {
      return "str";
    } else if (value instanceof Long) {
      return "int";
    } else if (value instanceof Opaque opaque) {
      return opaque.type();
    } else if (value instanceof Sequence sequence) {
      return sequence.type();
    } else if (value instanceof Dictionary dictionary) {
      return dictionary.type();
    } else if (value instanceof Tensor) {
      return "torch.Tensor";
    } else if (value instanceof LateTensor late) {
      return late.type();
    } else if (value instanceof TensorClass tensorClass) {
      return tensorClass.name();
    } else if (value instanceof Storage storage) {
      return storage.type().name();
    } else if (value instanceof Function function) {
      return function.name();
    } else if (value instanceof ElementType elements) {
      return elements.name();
    } else if (value instanceof StorageType storageType) {
      return storageType.name();
    }
    throw new IllegalStateException("no pickle value is a " + value.getClass());
  }

  /** What a {@link Function} is called with; each getter checks the type. */
  record Arguments(String function, List<Object> values) {
    int count() {
      return values.size();
    }

    Object value(int index) throws PickleException {
      if (index >= values.size()) {
        throw PickleException.damaged(function + " has only " + values.size() + " arguments");
      }
      return values.get(index);
    }

    <T> T get(int index, Class<T> type, String expected) throws PickleException {
      Object value = value(index);
      if (!type.isInstance(value)) {
        throw PickleException.damaged(
            function
                + " has "
                + Messages.brief(typeName(value))
                + " where "
                + expected
                + " belongs");
      }
      return type.cast(value);
    }

    long integer(int index) throws PickleException {
      return get(index, Long.class, "an integer of at most 64 bits");
    }

    Tensor tensor(int index) throws PickleException {
      Tensor tensor = Pickle.tensor(value(index));
      return tensor != null ? tensor : get(index, Tensor.class, "a tensor");
    }

    /** A tuple or list of integers of at most 64 elements. */
    long[] integers(int index) throws PickleException {
      List<Object> items = get(index, Sequence.class, "a tuple of integers").items();
      if (items.size() > 64) {
        throw PickleException.damaged("a tensor has " + items.size() + " dimensions (limit: 64)");
      }
      long[] numbers = new long[items.size()];
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] =
            new Arguments(function, items).get(i, Long.class, "an integer of at most 64 bits");
      }
      return numbers;
    }

    /** Passes the key-value pairs of a dictionary or of a list of pairs. */
    void forEachPair(int index, BiConsumer<Object, Object> action) throws PickleException {
      if (value(index) instanceof Dictionary dictionary) {
        dictionary.entries().forEach(action);
        return;
      }
      for (Object pair : get(index, Sequence.class, "a dictionary").items()) {
        if (!(pair instanceof Sequence sequence) || sequence.items().size() != 2) {
          throw PickleException.damaged(function + " has an argument that is not made of pairs");
        }
        action.accept(sequence.items().get(0), sequence.items().get(1));
      }
    }

    /** A copy of the items of a list, tuple or set. */
    List<Object> items(int index) throws PickleException {
      return new ArrayList<>(get(index, Sequence.class, "a list").items());
    }
  }
}
