package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.util.ArrayList;
import java.util.List;

/**
 * The stack of a pickle's machine, with its marks: nothing below the last mark may be taken. What
 * is put on it is charged to a {@link HeapBudget}.
 */
final class PickleStack {
  /** Rough heap cost of a slot that refers to a value. */
  static final int SLOT = 16;

  private final HeapBudget budget;
  private final List<Object> values = new ArrayList<>();
  private final List<Integer> marks = new ArrayList<>();

  PickleStack(HeapBudget budget) {
    this.budget = budget;
  }

  int size() {
    return values.size();
  }

  /** Takes the value that has to be the only one. */
  Object last() throws PickleException {
    Object value = pop();
    if (!values.isEmpty() || !marks.isEmpty()) {
      throw PickleException.damaged("values are left on the stack at the end");
    }
    return value;
  }

  /**
   * @param cost the heap that the value and its slot take, roughly
   */
  void push(Object value, long cost) throws CheckpointException {
    budget.charge(cost);
    values.add(value);
  }

  private int floor() {
    return marks.isEmpty() ? 0 : marks.get(marks.size() - 1);
  }

  Object top() throws PickleException {
    if (values.size() <= floor()) {
      throw PickleException.damaged("it takes a value from an empty stack");
    }
    return values.get(values.size() - 1);
  }

  Object pop() throws PickleException {
    Object value = top();
    values.remove(values.size() - 1);
    return value;
  }

  void mark() throws CheckpointException {
    budget.charge(2 * SLOT);
    marks.add(values.size());
  }

  /** Takes the last mark and returns the index of the first value above it. */
  int popMarkIndex() throws PickleException {
    if (marks.isEmpty()) {
      throw PickleException.damaged("it looks for a mark that is not there");
    }
    return marks.remove(marks.size() - 1);
  }

  /** Drops everything above the last mark, and the mark. */
  void popMark() throws PickleException {
    int from = popMarkIndex();
    values.subList(from, values.size()).clear();
  }

  /** Drops the last value, or the last mark if nothing is above it. */
  void popOrUnmark() throws PickleException {
    if (values.size() == floor() && !marks.isEmpty()) {
      popMarkIndex();
    } else {
      pop();
    }
  }

  /** Takes everything from index {@code from} on. */
  List<Object> popFrom(int from) throws PickleException, CheckpointException {
    if (from < floor()) {
      throw PickleException.damaged("it takes a value from an empty stack");
    }
    List<Object> tail = values.subList(from, values.size());
    budget.charge((long) SLOT * tail.size());
    List<Object> items = new ArrayList<>(tail);
    tail.clear();
    return items;
  }
}
