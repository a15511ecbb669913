package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

class TextTest {
  @Test
  void sizes() {
    assertEquals("0 B", Text.bytes(0));
    assertEquals("999 B", Text.bytes(999));
    assertEquals("1.00 kB", Text.bytes(1000));
    assertEquals("99.9 kB", Text.bytes(99_900));
    assertEquals("999 kB", Text.bytes(999_499));
    assertEquals("1.00 MB", Text.bytes(999_500));
    assertEquals("4.29 GB", Text.bytes(1L << 32));
    assertEquals("9.22 EB", Text.bytes(Long.MAX_VALUE));
  }

  @Test
  void valuesDoNotDependOnTheLocale() {
    Locale before = Locale.getDefault();
    try {
      Locale.setDefault(Locale.GERMANY);
      assertEquals("0.50000", Text.value(0.5));
      assertEquals("1.00 kB", Text.bytes(1000));
      assertEquals("1,234", Text.count(1234));
    } finally {
      Locale.setDefault(before);
    }
    assertEquals("-", Text.value(Double.NaN));
    assertEquals("0", Text.value(-0.0));
    assertEquals("7504", Text.value(7504));
    assertEquals("1.0000e-10", Text.value(1e-10));
  }

  @Test
  void namesAreHarmless() {
    assertEquals("a\\u001b[31m\\u000ab, \\ud800", Text.some(List.of("a\033[31m\nb", "\ud800"), 2));
    assertEquals("a\\u202eb", Text.sentence("a\u202eb."));
    assertEquals("a, b and 2 more", Text.some(List.of("a", "b", "c", "d"), 2));
    assertEquals("a, b", Text.some(List.of("a", "b"), 2));
  }

  @Test
  void sentences() {
    assertEquals("a b", Text.sentence("a\r\n  b."));
    assertEquals("and so on...", Text.sentence("and so on..."));
  }
}
