package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.time.Duration;
import java.util.Random;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GlobTest {
  @ParameterizedTest
  @CsvSource({
    "*, '', true",
    "'', '', true",
    "'', a, false",
    "?, '', false",
    "?, ab, false",
    "*.weight, layers.0.fc.weight, true",
    "*.weight, weight, false",
    "*.weight, layers.0.weights, false",
    "layers.*.fc?.weight, layers.10.mlp.fc1.weight, true",
    "layers.*.fc?.weight, layers.10.mlp.fc.weight, false",
    "a*b*c, abbbcbc, true",
    "a*b*c, abbbcb, false",
    "**a**, a, true",
    "*ab, aab, true",
    "a.b, axb, false",
    "[ab], a, false",
    "[ab], '[ab]', true",
    "a*, '*', false",
    "Weight, weight, false"
  })
  void cases(String pattern, String name, boolean matches) {
    assertEquals(matches, Glob.matches(pattern, name));
  }

  @Test
  void agreesWithRegularExpressions() {
    Random random = new Random(1);
    int matching = 0;
    for (int i = 0; i < 20_000; i++) {
      String pattern = text(random, "ab*?");
      String name = text(random, "ab");
      boolean expected = Pattern.matches(pattern.replace("*", ".*").replace("?", "."), name);
      assertEquals(expected, Glob.matches(pattern, name), pattern + " and " + name);
      matching += expected ? 1 : 0;
    }
    assertFalse(matching < 2000, "too few matches to mean much: " + matching);
  }

  private static String text(Random random, String alphabet) {
    StringBuilder text = new StringBuilder();
    for (int length = random.nextInt(7); length > 0; length--) {
      text.append(alphabet.charAt(random.nextInt(alphabet.length())));
    }
    return text.toString();
  }

  @Test
  void pathologicalPatternsAreFast() {
    String name = "a".repeat(20_000);
    assertTimeoutPreemptively(
        Duration.ofSeconds(10),
        () -> {
          assertFalse(Glob.matches("*a".repeat(1000) + "*b", name));
          assertFalse(Glob.matches("*" + "a".repeat(2000) + "b", name));
          assertFalse(Glob.matches("*?".repeat(10_000) + "b", name));
        });
  }
}
