package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Dictionary;
import dev.sinew.io.Pickle.Function;
import dev.sinew.io.Pickle.LateTensor;
import dev.sinew.io.Pickle.Opaque;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Tensor;
import dev.sinew.io.Pickle.TensorClass;
import dev.sinew.model.CheckpointException;
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
 * the text opcodes of protocol 0 but INT, the extension registry and out-of-band buffers.
 */
final class Unpickler {
  private static final Opaque LONG_TEXT = new Opaque("str");
  private static final Opaque FLOAT = new Opaque("float");
  private static final Opaque BYTES = new Opaque("bytes");
  private static final Opaque LONG_INT = new Opaque("int");

  // Passing over what is not kept takes time, if no heap.
  private static final long MAX_PICKLE = 256 << 20;

  // Rough heap cost of a value, of a slot that refers to one and of a hash table entry.
  private static final int VALUE = 56;
  private static final int SLOT = PickleStack.SLOT;
  private static final int ENTRY = 64;

  /** What the layouts of {@code torch.save} differ in: how a pickle refers to what is outside. */
  interface PersistentIds {
    /** The storage or tensor of an id. */
    Object resolve(Object id) throws PickleException, CheckpointException;
  }

  private final PickleInput in;
  private final long begin;
  private final PersistentIds persistentIds;
  private final HeapBudget budget;
  private final PickleStack stack;
  private final Map<Integer, Object> memo = new HashMap<>();

  private Unpickler(PickleInput in, PersistentIds persistentIds, HeapBudget budget) {
    this.in = in;
    this.begin = in.position();
    this.persistentIds = persistentIds;
    this.budget = budget;
    this.stack = new PickleStack(budget);
  }

  /**
   * The value that the next pickle describes; the input is left behind its end.
   *
   * @throws CheckpointException if the pickle is damaged, refers to something that is not allowed,
   *     or needs more heap than the budget has
   */
  static Object load(PickleInput in, PersistentIds persistentIds, HeapBudget budget)
      throws CheckpointException {
    try {
      return new Unpickler(in, persistentIds, budget).run();
    } catch (PickleException e) {
      throw e.at(in);
    }
  }

  /** As {@link #load(PickleInput, PersistentIds, HeapBudget)}, for pickles without such ids. */
  static Object load(PickleInput in, HeapBudget budget) throws CheckpointException {
    return load(
        in,
        id -> {
          throw PickleException.damaged("there is a persistent id where none belongs");
        },
        budget);
  }

  private Object run() throws PickleException, CheckpointException {
    while (true) {
      if (!in.hasRemaining()) {
        throw new PickleException("the pickle ends without a STOP; the file is truncated");
      }
      if (in.position() - begin > MAX_PICKLE) {
        throw new PickleException(
            "a pickle is longer than the limit: " + MAX_PICKLE + "; save a plain state_dict");
      }
      int opcode = in.unsignedByte();
      if (opcode == '.') {
        return stack.last();
      }
      execute(opcode);
    }
  }

  private void execute(int opcode) throws PickleException, CheckpointException {
    switch (opcode) {
      case 0x80 -> protocol(in.unsignedByte());
      case 0x95 -> in.length(in.int64()); // FRAME: nothing depends on where frames end
      case '(' -> stack.mark();
      case '0' -> stack.popOrUnmark();
      case '1' -> stack.popMark();
      case '2' -> stack.push(stack.top(), SLOT); // DUP
      case 'N' -> stack.push(Pickle.NONE, SLOT);
      case 0x88 -> stack.push(Pickle.TRUE, SLOT);
      case 0x89 -> stack.push(Pickle.FALSE, SLOT);
      case 'K' -> stack.push((long) in.unsignedByte(), VALUE);
      case 'M' -> stack.push((long) in.unsignedShort(), VALUE);
      case 'J' -> stack.push((long) in.int32(), VALUE);
      case 'I' -> decimal(in.line()); // INT, of Python 2 for more than 32 bits
      case 0x8a -> integer(in.unsignedByte());
      case 0x8b -> integer(in.int32());
      case 'G' -> {
        in.skip(8);
        stack.push(FLOAT, SLOT);
      }
      case 'U' -> text(in.unsignedByte(), true); // SHORT_BINSTRING, of Python 2
      case 'T' -> text(in.int32(), true); // BINSTRING, of Python 2
      case 0x8c -> text(in.unsignedByte(), false);
      case 'X' -> text(in.unsignedInt(), false);
      case 0x8d -> text(in.int64(), false);
      case 'C' -> bytes(in.unsignedByte());
      case 'B' -> bytes(in.unsignedInt());
      case 0x8e, 0x96 -> bytes(in.int64()); // BINBYTES8, BYTEARRAY8
      case ')' -> stack.push(Sequence.tuple(List.of()), VALUE);
      case 0x85 -> tuple(stack.size() - 1);
      case 0x86 -> tuple(stack.size() - 2);
      case 0x87 -> tuple(stack.size() - 3);
      case 't' -> tuple(stack.popMarkIndex());
      case ']' -> stack.push(new Sequence("list", new ArrayList<>(0)), VALUE);
      case '}' -> stack.push(new Dictionary("dict"), VALUE);
      case 0x8f -> stack.push(new Sequence("set", new ArrayList<>(0)), VALUE);
      case 0x91 -> frozenSet(stack.popMarkIndex());
      case 'a' -> extend("list", stack.size() - 1);
      case 'e' -> extend("list", stack.popMarkIndex());
      case 0x90 -> extend("set", stack.popMarkIndex());
      case 's' -> setItems(stack.size() - 2);
      case 'u' -> setItems(stack.popMarkIndex());
      case 'q' -> memo.put(in.unsignedByte(), memoized());
      case 'r' -> memo.put(in.int32(), memoized());
      case 0x94 -> memo.put(memo.size(), memoized());
      case 'h' -> stack.push(recall(in.unsignedByte()), SLOT);
      case 'j' -> stack.push(recall(in.int32()), SLOT);
      case 'c' -> stack.push(TorchGlobals.resolve(in.line(), in.line()), VALUE);
      case 0x93 -> stackGlobal();
      case 'Q' -> stack.push(persistentIds.resolve(stack.pop()), VALUE);
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

  // Containers.

  private void tuple(int from) throws PickleException, CheckpointException {
    stack.push(Sequence.tuple(stack.popFrom(from)), VALUE);
  }

  private void frozenSet(int from) throws PickleException, CheckpointException {
    stack.push(new Sequence("frozenset", stack.popFrom(from)), VALUE);
  }

  private void extend(String type, int from) throws PickleException, CheckpointException {
    List<Object> items = stack.popFrom(from);
    if (!(stack.top() instanceof Sequence sequence) || !sequence.isExtendedAs(type)) {
      throw PickleException.damaged(
          "it adds to a " + Messages.brief(Pickle.typeName(stack.top())) + " as to a " + type);
    }
    sequence.items().addAll(items);
  }

  private void setItems(int from) throws PickleException, CheckpointException {
    List<Object> items = stack.popFrom(from);
    if (!(stack.top() instanceof Dictionary dictionary)) {
      throw PickleException.damaged(
          "it sets an item of a " + Messages.brief(Pickle.typeName(stack.top())));
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
    return stack.top();
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
    Object name = stack.pop();
    Object module = stack.pop();
    if (!(name instanceof String n) || !(module instanceof String m)) {
      throw PickleException.damaged("a global is named by something that is not text");
    }
    stack.push(TorchGlobals.resolve(m, n), VALUE);
  }

  private void call() throws PickleException, CheckpointException {
    Object arguments = stack.pop();
    Object function = stack.pop();
    if (!(arguments instanceof Sequence tuple) || !tuple.isTuple()) {
      throw PickleException.damaged(
          "it calls " + Messages.brief(Pickle.typeName(function)) + " without a tuple");
    }
    if (function instanceof TensorClass tensorClass && tuple.items().isEmpty()) {
      stack.push(new LateTensor(tensorClass.name()), VALUE);
      return;
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
    stack.push(f.body().apply(new Arguments(f.name(), tuple.items())), 4 * VALUE);
  }

  private void callWithKeywords() throws PickleException, CheckpointException {
    if (!(stack.pop() instanceof Dictionary keywords) || !keywords.isEmpty()) {
      throw PickleException.damaged("it makes an object with keyword arguments");
    }
    call();
  }

  /** Sets the state of the value on top, as far as it leads to tensors. */
  private void build() throws PickleException, CheckpointException {
    Object state = stack.pop();
    Object value = stack.top();
    if (value instanceof Dictionary dictionary) {
      // Of a true dictionary, such as a state dict with its _metadata, attributes are no entries.
      if (dictionary.hasAttributes() && state instanceof Dictionary attributes) {
        budget.charge((long) ENTRY * attributes.entries().size());
        attributes.entries().forEach(dictionary::put);
      }
      return;
    }
    if (state instanceof Sequence tuple && tuple.isTuple()) {
      if (value instanceof LateTensor late) {
        late.set(TorchGlobals.tensorOfState(new Arguments(late.type(), tuple.items())));
        return;
      }
      if (value instanceof Opaque opaque && opaque.isStateful() && isPlain(tuple)) {
        return;
      }
      // A parameter or variable with its data: what follows are requires_grad and the like.
      if (value instanceof Tensor && tuple.items().size() == 3) {
        return;
      }
    }
    throw PickleException.damaged(
        "it sets the state of a " + Messages.brief(Pickle.typeName(value)));
  }

  /** Whether passing over the state of a NumPy array or type loses no tensor. */
  private boolean isPlain(Sequence state) throws CheckpointException {
    for (Object value : state.items()) {
      if (value instanceof Sequence sequence && !sequence.isTuple()) {
        // The elements of an array of Python objects.
        budget.charge((long) SLOT * sequence.items().size());
        for (Object element : sequence.items()) {
          if (!(element instanceof String
              || element instanceof Long
              || element instanceof Opaque)) {
            return false;
          }
        }
      }
    }
    return true;
  }

  // Numbers and bytes.

  private void integer(int length) throws PickleException, CheckpointException {
    if (length >= 0 && length <= Long.BYTES) {
      stack.push(in.integer(length), VALUE);
    } else {
      in.skip(length);
      stack.push(LONG_INT, SLOT);
    }
  }

  private void decimal(String line) throws PickleException, CheckpointException {
    if (line.equals("00") || line.equals("01")) {
      stack.push(line.equals("01") ? Pickle.TRUE : Pickle.FALSE, SLOT);
      return;
    }
    try {
      stack.push(Long.parseLong(line), VALUE);
    } catch (NumberFormatException e) {
      throw PickleException.damaged(Messages.quote(line) + " is given as an integer");
    }
  }

  private void bytes(long length) throws PickleException, CheckpointException {
    in.skip(length);
    stack.push(BYTES, SLOT);
  }

  /**
   * @param python2 whether this is a byte string of Python 2, which may be text or data
   */
  private void text(long length, boolean python2) throws PickleException, CheckpointException {
    if (in.length(length) > PickleInput.MAX_TEXT) {
      in.skip(length);
      stack.push(LONG_TEXT, SLOT);
    } else {
      budget.charge(2 * length);
      stack.push(in.text((int) length, python2), VALUE);
    }
  }
}
