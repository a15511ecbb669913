package dev.sinew.pass;

import java.util.Arrays;

/**
 * Numbers the parts of many owners in a row, with a few bytes an owner and none a part. Once
 * filled, safe for use by many threads.
 */
final class PartSequence {
  /** Where the parts of each owner end in the sequence. */
  private long[] ends = new long[16];

  /** What is added to a place in the sequence to give the number of the owner's own part. */
  private long[] shifts = new long[16];

  private int owners;

  /** Appends the parts [first, end) of a further owner; it may have none. */
  void add(long first, long end) {
    if (owners == ends.length) {
      ends = Arrays.copyOf(ends, 2 * owners);
      shifts = Arrays.copyOf(shifts, 2 * owners);
    }
    shifts[owners] = first - count();
    ends[owners] = count() + Math.max(0, end - first);
    owners++;
  }

  /** The number of all parts. */
  long count() {
    return owners == 0 ? 0 : ends[owners - 1];
  }

  /** Which owner the part at this place belongs to, counted from 0 in the order of {@link #add}. */
  int owner(long place) {
    int low = 0;
    int high = owners - 1;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (ends[middle] > place) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  /** The number that the part at this place has among its owner's. */
  long part(int owner, long place) {
    return place + shifts[owner];
  }
}
