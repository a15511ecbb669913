package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Dictionary;
import dev.sinew.io.Pickle.Function;
import dev.sinew.io.Pickle.Opaque;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Storage;
import dev.sinew.io.Pickle.StorageType;
import dev.sinew.model.CheckpointException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a pickle of protocol 2 to 5 as {@code torch.save} writes it, and executes nothing: names
 * resolve through {@link TorchGlobals} only, which makes plain values.
 *
 * <p>The machine is a loop over opcodes with an explicit stack, so depth costs no Java stack; every
 * length is checked against the bytes left before anything is allocated, and every value is charged
 * to a {@link HeapBudget}. The opcodes are those of Python's {@code Lib/pickletools.py}, without
 * the text opcodes of protocol 0, the extension registry and out-of-band buffers.
 */
final class Unpickler {
  private static final Opaque NONE = new Opaque("NoneType");
  private static final Opaque BOOL = new Opaque("bool");
  private static final Opaque FLOAT = new Opaque("float");
  private static final Opaque BYTES = new Opaque("bytes");
  private static final Opaque LONG_INT = new Opaque("int");

  // Rough heap cost of a value, of a slot that refers to one and of a hash table entry.
  private static final int VALUE = 56;
  private static final int SLOT = 16;
  private static final int ENTRY = 64;

  private final PickleInput in;
  private final HeapBudget budget;
  private final List<Object> stack = new ArrayList<>();
  private final List<Integer> marks = new ArrayList<>();
  private final Map<Integer, Object> memo = new HashMap<>();

  private Unpickler(byte[] pickle, HeapBudget budget) {
    this.in = new PickleInput(pickle);
    this.budget = budget;
  }

  /**
   * The value that a pickle describes.
   *
   * @param file the file that it comes from, for error messages
   * @throws CheckpointException if the pickle is damaged, refers to something that is not allowed,
   *     or needs more heap than the budget has
   */
  static Object load(byte[] pickle, Path file, HeapBudget budget) throws CheckpointException {
    Unpickler unpickler = new Unpickler(pickle, budget);
    try {
      return unpickler.run();
    } catch (PickleException e) {
      throw new CheckpointException(
          "cannot read "
              + Messages.quote(file)
              + ": near byte "
              + unpickler.in.position()
              + " of its data.pkl "
              + e.getMessage());
    }
  }

  private Object run() throws PickleException, CheckpointException {
    while (true) {
      if (!in.hasRemaining()) {
        throw new PickleException("the pickle ends without a STOP; the file is truncated");
      }
      int opcode = in.unsignedByte();
      if (opcode == '.') {
        Object result = pop();
        if (!stack.isEmpty() || !marks.isEmpty()) {
          throw PickleException.damaged("values are left on the stack at the end");
        }
        return result;
      }
      execute(opcode);
    }
  }

  private void execute(int opcode) throws PickleException, CheckpointException {
    switch (opcode) {
      case 0x80 -> protocol(in.unsignedByte());
      case 0x95 -> in.length(in.int64()); // FRAME: nothing depends on where frames end
      case '(' -> mark();
      case '0' -> popOrUnmark();
      case '1' -> popMark();
      case '2' -> push(top(), SLOT); // DUP
      case 'N' -> push(NONE, SLOT);
      case 0x88, 0x89 -> push(BOOL, SLOT);
      case 'K' -> push((long) in.unsignedByte(), VALUE);
      case 'M' -> push((long) in.unsignedShort(), VALUE);
      case 'J' -> push((long) in.int32(), VALUE);
      case 0x8a -> integer(in.unsignedByte());
      case 0x8b -> integer(in.length(in.int32()));
      case 'G' -> {
        in.skip(8);
        push(FLOAT, SLOT);
      }
      case 'U' -> text(in.unsignedByte()); // SHORT_BINSTRING, of Python 2
      case 'T' -> text(in.length(in.int32())); // BINSTRING, of Python 2
      case 0x8c -> text(in.unsignedByte());
      case 'X' -> text(in.length(in.unsignedInt()));
      case 0x8d -> text(in.length(in.int64()));
      case 'C' -> bytes(in.unsignedByte());
      case 'B' -> bytes(in.length(in.unsignedInt()));
      case 0x8e, 0x96 -> bytes(in.length(in.int64())); // BINBYTES8, BYTEARRAY8
      case ')' -> push(Sequence.tuple(List.of()), VALUE);
      case 0x85 -> tuple(stack.size() - 1);
      case 0x86 -> tuple(stack.size() - 2);
      case 0x87 -> tuple(stack.size() - 3);
      case 't' -> tuple(popMarkIndex());
      case ']' -> push(new Sequence("list", new ArrayList<>(0)), VALUE);
      case '}' -> push(new Dictionary("dict"), VALUE);
      case 0x8f -> push(new Sequence("set", new ArrayList<>(0)), VALUE);
      case 0x91 -> frozenSet(popMarkIndex());
      case 'a' -> extend("list", stack.size() - 1);
      case 'e' -> extend("list", popMarkIndex());
      case 0x90 -> extend("set", popMarkIndex());
      case 's' -> setItems(stack.size() - 2);
      case 'u' -> setItems(popMarkIndex());
      case 'q' -> memo.put(in.unsignedByte(), memoized());
      case 'r' -> memo.put(in.int32(), memoized());
      case 0x94 -> memo.put(memo.size(), memoized());
      case 'h' -> push(recall(in.unsignedByte()), SLOT);
      case 'j' -> push(recall(in.int32()), SLOT);
      case 'c' -> push(TorchGlobals.resolve(in.line(), in.line()), VALUE);
      case 0x93 -> stackGlobal();
      case 'Q' -> push(storage(pop()), VALUE);
      case 'R' -> call();
      case 0x81 -> call(); // NEWOBJ: a class and its arguments, which are functions here as well
      case 0x92 -> callWithKeywords();
      case 'b' -> build();
      default ->
          throw new PickleException(
              String.format(
                  "there is the pickle opcode 0x%02x, which torch.save does not write; save a plain"
                      + " state_dict with torch.save",
                  opcode));
    }
  }

  private void protocol(int version) throws PickleException {
    if (version < 2 || version > 5) {
      throw new PickleException(
          "the pickle says protocol "
              + version
              + ", and Sinew reads 2 to 5; save the state_dict again with torch.save");
    }
  }

  // The stack. Nothing below the last mark may be taken.

  private void push(Object value, long cost) throws CheckpointException {
    budget.charge(cost);
    stack.add(value);
  }

  private int floor() {
    return marks.isEmpty() ? 0 : marks.get(marks.size() - 1);
  }

  private Object top() throws PickleException {
    if (stack.size() <= floor()) {
      throw PickleException.damaged("it takes a value from an empty stack");
    }
    return stack.get(stack.size() - 1);
  }

  private Object pop() throws PickleException {
    Object value = top();
    stack.remove(stack.size() - 1);
    return value;
  }

  private void mark() throws CheckpointException {
    budget.charge(2 * SLOT);
    marks.add(stack.size());
  }

  private int popMarkIndex() throws PickleException {
    if (marks.isEmpty()) {
      throw PickleException.damaged("it looks for a mark that is not there");
    }
    return marks.remove(marks.size() - 1);
  }

  private void popMark() throws PickleException {
    truncateStack(popMarkIndex());
  }

  private void popOrUnmark() throws PickleException {
    if (stack.size() == floor() && !marks.isEmpty()) {
      popMarkIndex();
    } else {
      pop();
    }
  }

  private void truncateStack(int size) {
    stack.subList(size, stack.size()).clear();
  }

  /** Takes everything from stack index {@code from} on. */
  private List<Object> popFrom(int from) throws PickleException, CheckpointException {
    if (from < floor()) {
      throw PickleException.damaged("it takes a value from an empty stack");
    }
    List<Object> tail = stack.subList(from, stack.size());
    budget.charge((long) SLOT * tail.size());
    List<Object> items = new ArrayList<>(tail);
    tail.clear();
    return items;
  }

  // Containers.

  private void tuple(int from) throws PickleException, CheckpointException {
    push(Sequence.tuple(popFrom(from)), VALUE);
  }

  private void frozenSet(int from) throws PickleException, CheckpointException {
    push(new Sequence("frozenset", popFrom(from)), VALUE);
  }

  private void extend(String type, int from) throws PickleException, CheckpointException {
    List<Object> items = popFrom(from);
    if (!(top() instanceof Sequence sequence) || !sequence.type().equals(type)) {
      throw PickleException.damaged(
          "it adds to a " + Messages.brief(Pickle.typeName(top())) + " as to a " + type);
    }
    sequence.items().addAll(items);
  }

  private void setItems(int from) throws PickleException, CheckpointException {
    List<Object> items = popFrom(from);
    if (!(top() instanceof Dictionary dictionary)) {
      throw PickleException.damaged(
          "it sets an item of a " + Messages.brief(Pickle.typeName(top())));
    }
    if (items.size() % 2 != 0) {
      throw PickleException.damaged("it sets a dictionary key without a value");
    }
    budget.charge((long) ENTRY * items.size());
    for (int i = 0; i < items.size(); i += 2) {
      dictionary.put(items.get(i), items.get(i + 1));
    }
  }

  // The memo.

  private Object memoized() throws PickleException, CheckpointException {
    budget.charge(ENTRY);
    return top();
  }

  private Object recall(int index) throws PickleException {
    Object value = memo.get(index);
    if (value == null) {
      throw PickleException.damaged(
          "it refers to memo entry " + Integer.toUnsignedString(index) + ", never set");
    }
    return value;
  }

  // Names and calls.

  private void stackGlobal() throws PickleException, CheckpointException {
    Object name = pop();
    Object module = pop();
    if (!(name instanceof String n) || !(module instanceof String m)) {
      throw PickleException.damaged("a global is named by something that is not text");
    }
    push(TorchGlobals.resolve(m, n), VALUE);
  }

  private void call() throws PickleException, CheckpointException {
    Object arguments = pop();
    Object function = pop();
    if (!(arguments instanceof Sequence tuple) || !tuple.isTuple()) {
      throw PickleException.damaged(
          "it calls " + Messages.brief(Pickle.typeName(function)) + " without a tuple");
    }
    if (!(function instanceof Function f)) {
      throw PickleException.damaged("it calls a " + Messages.brief(Pickle.typeName(function)));
    }
    // A function may copy its arguments, and the memo makes it cheap to call it often.
    for (Object argument : tuple.items()) {
      budget.charge(SLOT);
      if (argument instanceof Sequence sequence) {
        budget.charge((long) ENTRY * sequence.items().size());
      } else if (argument instanceof Dictionary dictionary) {
        budget.charge((long) ENTRY * dictionary.entries().size());
      }
    }
    push(f.body().apply(new Arguments(f.name(), tuple.items())), 4 * VALUE);
  }

  private void callWithKeywords() throws PickleException, CheckpointException {
    if (!(pop() instanceof Dictionary keywords) || !keywords.isEmpty()) {
      throw PickleException.damaged("it makes an object with keyword arguments");
    }
    call();
  }

  /** Sets attributes. Those of a dictionary (a state dict's _metadata) hold no tensors of it. */
  private void build() throws PickleException {
    pop();
    if (!(top() instanceof Dictionary)) {
      throw PickleException.damaged(
          "it sets the state of a " + Messages.brief(Pickle.typeName(top())));
    }
  }

  private Storage storage(Object id) throws PickleException {
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

  // Numbers and bytes.

  private void integer(int length) throws PickleException, CheckpointException {
    if (length <= Long.BYTES) {
      push(in.integer(length), VALUE);
    } else {
      in.skip(length);
      push(LONG_INT, SLOT);
    }
  }

  private void bytes(int length) throws PickleException, CheckpointException {
    in.skip(length);
    push(BYTES, SLOT);
  }

  private void text(int length) throws PickleException, CheckpointException {
    push(in.text(length), VALUE + 2L * length);
  }
}
