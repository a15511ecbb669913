package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PartSequenceTest {
  @Test
  void anEmptySequenceHasNoParts() {
    PartSequence sequence = new PartSequence();
    assertEquals(0, sequence.count());
    sequence.add(3, 3);
    assertEquals(0, sequence.count());
  }

  /** Against a list with an element a part. */
  @Test
  void partsAreThoseOfAList() {
    Random random = new Random(5);
    for (int owners = 1; owners < 60; owners++) {
      PartSequence sequence = new PartSequence();
      List<long[]> expected = new ArrayList<>();
      for (int owner = 0; owner < owners; owner++) {
        long first = random.nextInt(10);
        long end = first + random.nextInt(4);
        sequence.add(first, end);
        for (long part = first; part < end; part++) {
          expected.add(new long[] {owner, part});
        }
      }
      assertEquals(expected.size(), sequence.count());
      for (int place = 0; place < expected.size(); place++) {
        int owner = sequence.owner(place);
        assertEquals(expected.get(place)[0], owner);
        assertEquals(expected.get(place)[1], sequence.part(owner, place));
      }
    }
  }

  @Test
  void numbersBeyondIntegersWork() {
    PartSequence sequence = new PartSequence();
    sequence.add(0, 1L << 40);
    sequence.add(7, 9);
    assertEquals((1L << 40) + 2, sequence.count());
    assertEquals(0, sequence.owner((1L << 40) - 1));
    assertEquals(1, sequence.owner(1L << 40));
    assertEquals(7, sequence.part(1, 1L << 40));
  }
}
