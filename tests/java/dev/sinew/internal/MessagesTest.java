package dev.sinew.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MessagesTest {
  /** Controls of C0 and C1, what reorders or hides text, line ends, and halves of a character. */
  @ParameterizedTest
  @CsvSource({
    "0000, \\u0000",
    "0007, \\u0007",
    "000a, \\u000a",
    "000d, \\u000d",
    "001b, \\u001b",
    "007f, \\u007f",
    "0085, \\u0085",
    "009b, \\u009b",
    "200b, \\u200b",
    "202e, \\u202e",
    "2028, \\u2028",
    "2029, \\u2029",
    "2066, \\u2066",
    "feff, \\ufeff",
    "d800, \\ud800",
    "dfff, \\udfff",
    "e0041, \\ue0041",
  })
  void whatCouldSteerATerminalIsEscaped(String hex, String expected) {
    String text = "a" + Character.toString(Integer.parseInt(hex, 16)) + "b";
    assertEquals("a" + expected + "b", Messages.printable(text));
    assertEquals("'a" + expected + "b'", Messages.quote(text));
  }

  @Test
  void ordinaryTextOfAnyLanguageStays() {
    String text = "model.layers.0 größe 重み 😀 \\ \"";
    assertEquals(text, Messages.printable(text));
    assertEquals("'größe/重み.pt'", Messages.quote(Path.of("größe/重み.pt")));
  }

  @Test
  void namesAreCutBetweenCharactersAndPathsAreNot() {
    assertEquals("x".repeat(120), Messages.brief("x".repeat(120)));
    assertEquals("x".repeat(120) + "...", Messages.brief("x".repeat(121)));
    assertEquals("x".repeat(119) + "😀...", Messages.brief("x".repeat(119) + "😀y"));
    assertEquals("'" + "x".repeat(500) + "'", Messages.quote(Path.of("x".repeat(500))));
  }

  @Test
  void saysWhyTheSystemRefused() {
    assertEquals("No such file or directory", Messages.reason(new NoSuchFileException("f")));
    assertEquals("Permission denied", Messages.reason(new AccessDeniedException("f")));
    assertEquals(
        "Is a directory", Messages.reason(new FileSystemException("f", null, "Is a directory")));
    assertEquals("FileSystemException", Messages.reason(new FileSystemException("f")));
    assertEquals("disk\\u000afull", Messages.reason(new IOException("disk\nfull")));
    assertEquals("IOException", Messages.reason(new IOException()));
    assertEquals(
        "File name too long (a name has at most 255 bytes, and 4095 with its folders)",
        Messages.reason(new FileSystemException("f", null, "File name too long")));
  }
}
