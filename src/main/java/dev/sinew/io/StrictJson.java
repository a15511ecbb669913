package dev.sinew.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * Reads the JSON of files that anybody may have made, in UTF-8, with bounds on nesting, texts and
 * memory. Whether keys come twice is for the reader to check.
 */
final class StrictJson {
  private static final int MAX_NESTING = 128;

  /**
   * What a character of a string takes while it is read: twice in the parser's buffer, which may
   * have grown to twice that, and once or twice in the string.
   */
  private static final int CHARACTER_COST = 8;

  private StrictJson() {}

  /** Takes the values one after the other. */
  interface Reading {
    void accept(JsonParser json) throws IOException;
  }

  /** Makes the sentence about the file from what is wrong with it. */
  interface Damage {
    CheckpointException because(String why, Throwable cause);
  }

  /**
   * Reads and writes JSON.
   *
   * @param maxText characters that a name or another string may have at most when read
   */
  static JsonFactory factory(int maxText) {
    return JsonFactory.builder()
        // Tables of names that live as long as the JVM are no place for names from files.
        .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
        .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
        .streamReadConstraints(
            StreamReadConstraints.builder()
                .maxNestingDepth(MAX_NESTING)
                .maxNameLength(maxText)
                .maxStringLength(maxText)
                .build())
        .build();
  }

  /**
   * Reads the bytes from {@code begin} to {@code end}.
   *
   * @param what these bytes, to begin a sentence with, for example {@code its header}
   * @throws CheckpointException made by {@code damage} if they are no JSON within the bounds, or
   *     thrown by {@code reading}
   */
  static void read(
      InputFile file,
      long begin,
      long end,
      String what,
      HeapBudget budget,
      Reading reading,
      Damage damage)
      throws CheckpointException {
    // The parser makes a string before it can be charged, so its length is limited beforehand, to
    // what takes half as much as all charges may.
    int maxText =
        (int) Math.min(SafeTensorsHeader.MAX_BYTES, budget.limit() / (2 * CHARACTER_COST));
    try (Reader text =
            new InputStreamReader(
                file.stream(begin, end, what.replace("its ", "the ")),
                StandardCharsets.UTF_8.newDecoder());
        JsonParser json = factory(maxText).createParser(text)) {
      reading.accept(json);
    } catch (CheckpointException e) {
      throw e;
    } catch (CharacterCodingException e) {
      throw damage.because(what + " is not valid UTF-8", e);
    } catch (StreamConstraintsException e) {
      throw damage.because(
          what
              + " nests too deeply, or holds a number of too many digits or a text of more than "
              + maxText
              + " characters",
          e);
    } catch (JsonProcessingException e) {
      long at = e.getLocation() == null ? -1 : e.getLocation().getCharOffset();
      throw damage.because(what + " is not valid JSON" + (at < 0 ? "" : " at character " + at), e);
    } catch (IOException e) {
      throw damage.because(what + " cannot be read (" + Messages.reason(e) + ")", e);
    }
  }

  /** Expects that nothing follows the outermost object. */
  static void requireEnd(JsonParser json, String what, Damage damage) throws IOException {
    if (json.nextToken() != null) {
      throw damage.because(what + " goes on after the closing '}'", null);
    }
  }

  /** Whether {@code text} has a UTF-8 form, that is, no half of a surrogate pair stands alone. */
  static boolean isWellFormed(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        boolean pair =
            i + 1 < text.length() && Character.isSurrogatePair(text.charAt(i), text.charAt(i + 1));
        if (!pair) {
          return false;
        }
        i++;
      }
    }
    return true;
  }
}
