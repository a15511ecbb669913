package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Reads a part of a tensor whose elements do not follow each other in the file.
 *
 * <p>The part is cut into boxes, each a run of indices of one dimension times all of the inner
 * ones. A box is halved along the dimension that spans the most bytes of the file until the rest is
 * one run, or spans little enough to be read in one piece and picked from, or is a panel of few
 * such pieces. So a transposed matrix is read in runs along its columns, a slice with steps in
 * blocks, and a broadcast dimension once.
 *
 * <p>Besides the target this needs {@value #MAX_SPAN} bytes, whatever the size of the tensor.
 */
final class StridedReader {
  /** The most bytes read in one piece to be picked from; it fits the second-level cache. */
  private static final int MAX_SPAN = 256 << 10;

  /** Reading more unused bytes than this for each used one is worse than another system call. */
  private static final int MAX_WASTE = 16;

  /** What a system call costs is copied in the time of about this many bytes. */
  private static final int MIN_SPAN = 4 << 10;

  /** The most pieces read before they are picked from together. */
  private static final int PANEL = 64;

  /** From this many elements on, another inner loop is not faster for being longer. */
  private static final int LONG_LOOP = 8;

  private final InputFile file;
  private final String what;
  private final long storage;
  private final StridedLayout layout;
  private final int elementBytes;
  private final ByteBuffer target;

  // The current box: sizes, and strides of the file and of the target, all in elements.
  private final int rank;
  private final int[] sizes;
  private final long[] strides;
  private final int[] targetStrides;
  private final int[] index;
  private final int[] bufferStrides;
  private ByteBuffer scratch;

  private StridedReader(
      InputFile file, String what, long storage, StridedLayout layout, ByteBuffer target) {
    this.file = file;
    this.what = what;
    this.storage = storage;
    this.layout = layout;
    this.elementBytes = layout.elementBytes();
    this.target = target;
    this.rank = layout.rank();
    this.sizes = new int[rank];
    this.strides = new long[rank];
    this.targetStrides = new int[rank];
    this.index = new int[rank];
    this.bufferStrides = new int[rank];
    for (int d = 0; d < rank; d++) {
      strides[d] = layout.stride(d);
    }
  }

  /**
   * Fills {@code target} with the bytes of the row-major tensor from {@code byteOffset} on, which
   * must lie within it.
   *
   * @param what the tensor in words, for error messages
   * @param storage the file position of the storage's first byte
   */
  static void read(
      InputFile file,
      String what,
      long storage,
      StridedLayout layout,
      long byteOffset,
      ByteBuffer target)
      throws CheckpointException {
    int width = layout.elementBytes();
    long element = byteOffset / width;
    int skip = (int) (byteOffset % width);
    if (skip != 0) {
      int count = Math.min(width - skip, target.remaining());
      readPart(file, what, storage, layout, element, skip, count, target);
      element++;
    }
    int whole = target.remaining() / width;
    if (whole > 0) {
      ByteBuffer slice = target.slice(target.position(), whole * width);
      // Both sides move raw elements, so any order does as long as it is the same.
      slice.order(ByteOrder.nativeOrder());
      new StridedReader(file, what, storage, layout, slice).readElements(element, whole);
      target.position(target.position() + whole * width);
      element += whole;
    }
    if (target.hasRemaining()) {
      readPart(file, what, storage, layout, element, 0, target.remaining(), target);
    }
  }

  private static void readPart(
      InputFile file,
      String what,
      long storage,
      StridedLayout layout,
      long element,
      int from,
      int count,
      ByteBuffer target)
      throws CheckpointException {
    ByteBuffer one = ByteBuffer.allocate(layout.elementBytes()).order(ByteOrder.nativeOrder());
    new StridedReader(file, what, storage, layout, one).readElements(element, 1);
    target.put(one.array(), from, count);
  }

  private void readElements(long first, int count) throws CheckpointException {
    long done = 0;
    while (done < count) {
      long left = count - done;
      long position = first + done;
      // The outermost dimension of which at least one whole index fits here.
      int outer = rank - 1;
      long inner = 1;
      while (outer > 0) {
        long next = inner * layout.size(outer);
        if (next > left || position % next != 0) {
          break;
        }
        inner = next;
        outer--;
      }
      long indexInOuter = position / inner % layout.size(outer);
      int run = (int) Math.min(left / inner, layout.size(outer) - indexInOuter);
      setBox(outer, run);
      gather(sourceOf(position), (int) done);
      done += run * inner;
    }
  }

  private void setBox(int outer, int run) {
    int targetStride = 1;
    for (int d = rank - 1; d >= 0; d--) {
      sizes[d] = d > outer ? (int) layout.size(d) : d == outer ? run : 1;
      targetStrides[d] = targetStride;
      targetStride *= sizes[d];
    }
  }

  private long sourceOf(long element) {
    long source = layout.offset();
    for (int d = rank - 1; d >= 0; d--) {
      source += element % layout.size(d) * strides[d];
      element /= layout.size(d);
    }
    return source;
  }

  /** Reads the box that begins at the given elements; recursion only halves, so depth is small. */
  private void gather(long source, int destination) throws CheckpointException {
    long span = 1;
    long widest = 0;
    int count = 1;
    int split = 0;
    for (int d = 0; d < rank; d++) {
      long extent = (sizes[d] - 1) * strides[d];
      span += extent;
      count *= sizes[d];
      if (extent > widest) {
        widest = extent;
        split = d;
      }
    }
    int size = sizes[split];
    long part = span - widest;
    if (isRun(-1)) {
      readInto(target, destination, source, count);
    } else if (isWorthReading(span, count)) {
      readInto(scratch((int) span), 0, source, (int) span);
      pick(split, (int) strides[split], destination);
    } else if (size <= PANEL
        && isWorthReading(part, count / size)
        && size * part * elementBytes <= MAX_SPAN
        && !isRun(split)) {
      ByteBuffer buffer = scratch(size * (int) part);
      for (int i = 0; i < size; i++) {
        readInto(buffer, i * (int) part, source + i * strides[split], (int) part);
      }
      pick(split, (int) part, destination);
    } else {
      int half = size / 2;
      sizes[split] = half;
      gather(source, destination);
      sizes[split] = size - half;
      gather(source + half * strides[split], destination + half * targetStrides[split]);
      sizes[split] = size;
    }
  }

  /** Whether the box, at one index of dimension {@code except}, lies in one piece on both sides. */
  private boolean isRun(int except) {
    for (int d = 0; d < rank; d++) {
      if (d != except && sizes[d] > 1 && (strides[d] != 1 || targetStrides[d] != 1)) {
        return false;
      }
    }
    return true;
  }

  private boolean isWorthReading(long span, long count) {
    long bytes = span * elementBytes;
    return bytes <= MIN_SPAN || (bytes <= MAX_SPAN && span <= MAX_WASTE * count);
  }

  private void readInto(ByteBuffer buffer, int at, long source, int count)
      throws CheckpointException {
    ByteBuffer slice = buffer.slice(at * elementBytes, count * elementBytes);
    file.read(storage + source * elementBytes, slice, what);
  }

  /** The scratch buffer, with room for {@code count} elements, which take at most MAX_SPAN. */
  private ByteBuffer scratch(int count) {
    int bytes = Math.max(MIN_SPAN, count * elementBytes);
    if (scratch == null || scratch.capacity() < bytes) {
      // A power of two, so that it seldom has to grow.
      int capacity = Integer.highestOneBit(bytes - 1) << 1;
      scratch = ByteBuffer.allocate(capacity).order(ByteOrder.nativeOrder());
    }
    return scratch;
  }

  /**
   * Copies the box out of the scratch buffer, where the file's strides hold but for one dimension.
   *
   * @param dimension the one whose stride in the buffer is {@code stride}
   */
  private void pick(int dimension, int stride, int destination) {
    // Long loops are fast, and so is writing neighbours: rows of a target that are a power of two
    // apart share their cache lines.
    int inner = 0;
    for (int d = 0; d < rank; d++) {
      index[d] = 0;
      bufferStrides[d] = d == dimension ? stride : (int) strides[d];
      if (sizes[d] >= Math.min(sizes[inner], LONG_LOOP)) {
        inner = d;
      }
    }
    int from = 0;
    int to = destination;
    int outer;
    do {
      copy(from, bufferStrides[inner], to, targetStrides[inner], sizes[inner]);
      outer = rank - 1;
      while (outer >= 0 && (outer == inner || ++index[outer] == sizes[outer])) {
        if (outer != inner) {
          from -= bufferStrides[outer] * (sizes[outer] - 1);
          to -= targetStrides[outer] * (sizes[outer] - 1);
          index[outer] = 0;
        }
        outer--;
      }
      if (outer >= 0) {
        from += bufferStrides[outer];
        to += targetStrides[outer];
      }
    } while (outer >= 0);
  }

  private void copy(int from, int fromStep, int to, int toStep, int count) {
    switch (elementBytes) {
      case 1 -> {
        for (int i = 0; i < count; i++) {
          target.put(to + i * toStep, scratch.get(from + i * fromStep));
        }
      }
      case 2 -> {
        for (int i = 0; i < count; i++) {
          target.putShort((to + i * toStep) * 2, scratch.getShort((from + i * fromStep) * 2));
        }
      }
      case 4 -> {
        for (int i = 0; i < count; i++) {
          target.putInt((to + i * toStep) * 4, scratch.getInt((from + i * fromStep) * 4));
        }
      }
      default -> {
        for (int i = 0; i < count; i++) {
          target.putLong((to + i * toStep) * 8, scratch.getLong((from + i * fromStep) * 8));
        }
      }
    }
  }
}
