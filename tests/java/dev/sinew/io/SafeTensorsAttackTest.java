package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.assertRefused;
import static dev.sinew.io.SafeTensorsFiles.bytes;
import static dev.sinew.io.SafeTensorsFiles.counting;
import static dev.sinew.io.SafeTensorsFiles.write;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Files made to confuse a reader: each is refused with a sentence that gives its own reason. */
class SafeTensorsAttackTest {
  @TempDir Path folder;

  private static Arguments attack(String name, String header, int size, String reason) {
    return Arguments.of(name, header, size, reason);
  }

  /** A header with one tensor, U8 [4] at 0 to 4 unless a key says otherwise. */
  private static String tensor(String name, String... keysAndValues) {
    String dtype = "\"U8\"";
    String shape = "[4]";
    String offsets = "[0,4]";
    for (int i = 0; i < keysAndValues.length; i += 2) {
      switch (keysAndValues[i]) {
        case "dtype" -> dtype = keysAndValues[i + 1];
        case "shape" -> shape = keysAndValues[i + 1];
        default -> offsets = keysAndValues[i + 1];
      }
    }
    return String.format(
        "\"%s\":{\"dtype\":%s,\"shape\":%s,\"data_offsets\":%s}", name, dtype, shape, offsets);
  }

  private static String header(String... entries) {
    return "{" + String.join(",", entries) + "}";
  }

  static Stream<Arguments> json() {
    String t = tensor("t");
    String notJson = "header is not valid JSON";
    return Stream.of(
        attack("ends early", "{", 0, notJson),
        attack("ends in a string", "{\"t", 0, notJson),
        attack("ends in an entry", "{\"t\":{\"dtype\":\"U8\"", 0, notJson),
        attack("trailing comma", "{" + t + ",}", 4, notJson),
        attack("comment", "{/**/" + t + "}", 4, notJson),
        attack("single quotes", header(t).replace('"', '\''), 4, notJson),
        attack("unquoted key", "{t:1}", 0, notJson),
        attack("control character in a name", header(tensor("t\u0001")), 4, notJson),
        attack("leading zero", header(tensor("t", "shape", "[04]")), 4, notJson),
        attack("plus sign", header(tensor("t", "shape", "[+4]")), 4, notJson),
        attack("not a number", header(tensor("t", "shape", "[NaN]")), 4, notJson),
        attack("text after the end", header(t) + "x", 4, notJson),
        attack("zeros after the end", header(t) + "\0\0", 4, notJson),
        attack("second object after the end", "{}{}", 0, "goes on after the closing"),
        attack("list", "[]", 0, "does not begin with '{'"),
        attack("space first", " {}", 0, "does not begin with '{'"),
        attack("byte order mark first", "\ufeff{}", 0, "does not begin with '{'"),
        attack("same tensor twice", header(t, t), 4, "has tensor 't' twice"),
        attack("same tensor, escaped", header(t, tensor("\\u0074")), 4, "has tensor 't' twice"),
        attack(
            "same key twice in an entry",
            "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
            4,
            "entry of tensor 't' has 'dtype' twice"),
        attack(
            "metadata twice",
            "{\"__metadata__\":{},\"__metadata__\":null}",
            0,
            "__metadata__ twice"),
        attack(
            "metadata key twice",
            "{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}",
            0,
            "key 'a' twice"),
        attack("metadata list", "{\"__metadata__\":[]}", 0, "__metadata__ is not an object"),
        attack("metadata null", "{\"__metadata__\":{\"a\":null}}", 0, "'a' is not a string"),
        attack("metadata number", "{\"__metadata__\":{\"a\":1}}", 0, "'a' is not a string"),
        attack("metadata object", "{\"__metadata__\":{\"a\":{}}}", 0, "'a' is not a string"),
        attack(
            "metadata with half a surrogate pair",
            "{\"__metadata__\":{\"a\":\"\\udc00\"}}",
            0,
            "'a' is not valid Unicode"),
        attack(
            "name with half a surrogate pair", header(tensor("\\ud800")), 4, "not valid Unicode"),
        attack("name with swapped pair", header(tensor("\\udc00\\ud800")), 4, "not valid Unicode"),
        attack("entry is a list", "{\"t\":[\"U8\",[4],[0,4]]}", 4, "'t' is not an object"),
        attack("entry is null", "{\"t\":null}", 0, "'t' is not an object"),
        attack("entry is a string", "{\"t\":\"U8\"}", 0, "'t' is not an object"),
        attack(
            "deep nesting where it is ignored",
            "{\"t\":{\"x\":" + "[".repeat(200_000) + "]".repeat(200_000) + "}}",
            0,
            "nests too deeply"),
        attack(
            "deep nesting of a shape",
            header(tensor("t", "shape", "[".repeat(200_000))),
            0,
            "non-negative integer"),
        attack(
            "number of a million digits",
            header(tensor("t", "shape", "[" + "9".repeat(1_000_000) + "]")),
            0,
            "too many digits"));
  }

  static Stream<Arguments> entries() {
    String max = Long.toString(Long.MAX_VALUE);
    return Stream.of(
        attack("no dtype", "{\"t\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "no 'dtype'"),
        attack("no shape", "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "no 'shape'"),
        attack("no offsets", "{\"t\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "no 'data_offsets'"),
        attack("unknown dtype", header(tensor("t", "dtype", "\"F128\"")), 4, "dtype 'F128'"),
        attack("dtype in lower case", header(tensor("t", "dtype", "\"u8\"")), 4, "dtype 'u8'"),
        attack("dtype number", header(tensor("t", "dtype", "8")), 4, "not a string"),
        attack("dtype object", header(tensor("t", "dtype", "{\"U8\":null}")), 4, "not a string"),
        attack("negative", header(tensor("t", "shape", "[-4]")), 4, "'-4' where"),
        attack("negative zero", header(tensor("t", "shape", "[-0]")), 4, "'-0' where"),
        attack("fraction", header(tensor("t", "shape", "[4.0]")), 4, "'4.0' where"),
        attack("exponent", header(tensor("t", "shape", "[4e0]")), 4, "'4e0' where"),
        attack("string", header(tensor("t", "shape", "[\"4\"]")), 4, "'4' where"),
        attack("null in a shape", header(tensor("t", "shape", "[null]")), 4, "'null' where"),
        attack("list in a shape", header(tensor("t", "shape", "[[4]]")), 4, "'[' where"),
        attack("shape null", header(tensor("t", "shape", "null")), 4, "not a list"),
        attack("shape number", header(tensor("t", "shape", "4")), 4, "not a list"),
        attack("2^63", header(tensor("t", "shape", "[9223372036854775808]")), 4, "too large"),
        attack("2^64 + 4", header(tensor("t", "shape", "[18446744073709551620]")), 4, "too large"),
        attack("one offset", header(tensor("t", "offsets", "[0]")), 4, "not two numbers"),
        attack("three offsets", header(tensor("t", "offsets", "[0,4,4]")), 4, "more than 2"),
        attack("negative offset", header(tensor("t", "offsets", "[-4,0]")), 4, "'-4' where"),
        attack("end before begin", header(tensor("t", "offsets", "[4,0]")), 4, "before it begins"),
        attack(
            "hole at the start", header(tensor("t", "offsets", "[1,5]")), 5, "the 1 bytes before"),
        attack(
            "hole in the middle",
            header(tensor("t"), tensor("u", "offsets", "[6,10]")),
            10,
            "the 2 bytes before tensor 'u'"),
        attack(
            "overlap",
            header(tensor("t"), tensor("u", "offsets", "[3,7]")),
            7,
            "tensor 'u' begins at 3, inside another that ends at 4"),
        attack(
            "same data twice",
            header(tensor("t"), tensor("u")),
            4,
            "tensor 'u' begins at 0, inside another"),
        attack(
            "empty tensor inside another",
            header(tensor("t"), tensor("u", "shape", "[0]", "offsets", "[2,2]")),
            4,
            "tensor 'u' begins at 2, inside another"),
        attack("data too short", header(tensor("t")), 3, "cut short"),
        attack("no data", header(tensor("t")), 0, "cut short"),
        attack("data too long", header(tensor("t")), 5, "1 bytes follow its last tensor"),
        attack("data without tensors", "{}", 1, "1 bytes follow its last tensor"),
        attack("offsets too wide", header(tensor("t", "offsets", "[0,5]")), 5, "takes 4 bytes"),
        attack("dtype too wide", header(tensor("t", "dtype", "\"F64\"")), 4, "takes 32 bytes"),
        attack(
            "product overflows",
            header(tensor("t", "shape", "[4294967296,4294967296]", "offsets", "[0,0]")),
            0,
            "no valid size"),
        attack(
            "product overflows to the right size",
            header(tensor("t", "shape", "[4611686018427387905,4]")),
            4,
            "no valid size"),
        attack(
            "bytes overflow to the right size",
            header(
                tensor(
                    "t", "dtype", "\"F64\"", "shape", "[2305843009213693953]", "offsets", "[0,8]")),
            8,
            "no valid size"),
        attack(
            "offsets at the end of the number range",
            header(tensor("t", "shape", "[" + max + "]", "offsets", "[0," + max + "]")),
            4,
            "cut short"),
        attack(
            "sum of sizes overflows",
            header(
                tensor("t", "shape", "[" + max + "]", "offsets", "[0," + max + "]"),
                tensor("u", "offsets", "[" + max + "," + max + "]")),
            4,
            "takes 4 bytes"),
        attack(
            "half a byte",
            header(tensor("t", "dtype", "\"F4\"", "shape", "[7]")),
            4,
            "no valid size"),
        attack(
            "too many dimensions",
            header(tensor("t", "shape", "[" + "1,".repeat(1024) + "4]")),
            4,
            "more than 1024"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource({"json", "entries"})
  void refuses(String name, String header, int size, String reason) throws IOException {
    Path file = write(folder, bytes(header, counting(size)));
    assertRefused(file, reason, () -> SafeTensors.open(file));
  }

  @ParameterizedTest
  @CsvSource({
    "7b22ff227d, a byte that is never valid",
    "7b22c0af227d, a slash in two bytes",
    "7b22eda080227d, a surrogate",
    "7b22f4908080227d, beyond the last character",
    "7b22e282227d, a cut character",
    "7b7d20e282, cut at the end",
  })
  void refusesTextThatIsNotUtf8(String header, String why) throws IOException {
    Path file = write(folder, bytes(HexFormat.of().parseHex(header), new byte[0]));
    assertRefused(file, "not valid UTF-8", () -> SafeTensors.open(file));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "|only 0 bytes",
        "3c000000000000|only 7 bytes",
        "0000000000000000|header is empty",
        "00000000000000007b7d|header is empty",
        "3c00000000000000|header takes 60 bytes, but the file ends after 0",
        "03000000000000007b7d|header takes 3 bytes, but the file ends after 2",
        "01e1f505000000007b7d|would take 100000001 bytes",
        "ffffffffffffff7f7b7d|would take 9223372036854775807 bytes",
        "00000000000000807b7d|would take 9223372036854775808 bytes",
        "ffffffffffffffff7b7d|would take 18446744073709551615 bytes",
      })
  void refusesBadHeaderLengths(String hex, String reason) throws IOException {
    Path file = write(folder, HexFormat.of().parseHex(hex == null ? "" : hex));
    assertRefused(file, reason, () -> SafeTensors.open(file));
  }

  @Test
  void aSparseHeaderOfTheLargestSizeCostsNothing() throws IOException {
    Path file = folder.resolve("model.safetensors");
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.write(HexFormat.of().parseHex("00e1f505000000007b22"));
      sparse.setLength(8 + 100_000_000);
    }
    assertRefused(file, "not valid JSON", () -> SafeTensors.open(file));
  }

  @Test
  @Timeout(120)
  void aHeaderThatDoesNotFitTheMemoryIsOneSentence() throws Exception {
    StringBuilder header = new StringBuilder("{");
    int tensors = 200_000;
    for (int i = 0; i < tensors; i++) {
      header.append(tensor("t" + i, "shape", "[0]", "offsets", "[0,0]")).append(',');
    }
    header.setCharAt(header.length() - 1, '}');
    Path file = write(folder, bytes(header.toString(), new byte[0]));
    Process child = ChildProgram.start("24m", "open", file);
    List<String> lines = child.inputReader().lines().toList();
    assertEquals(1, child.waitFor(), lines.toString());
    assertEquals(1, lines.size(), lines.toString());
    assertTrue(
        lines
            .get(0)
            .contains(
                "12 MiB of the Java heap, half of all there is; if you trust the file, allow more"),
        lines.get(0));
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      assertEquals(tensors, checkpoint.tensors().size());
    }
  }

  @Test
  @Timeout(120)
  void metadataAndLongNamesCountToo() throws Exception {
    String metadata =
        IntStream.range(0, 300_000)
            .mapToObj(i -> "\"" + i + "\":\"\"")
            .collect(Collectors.joining(",", "{\"__metadata__\":{", "}}"));
    String longName = header(tensor("x".repeat(30_000_000), "shape", "[0]", "offsets", "[0,0]"));
    String[] headers = {metadata, longName};
    String[] reasons = {"12 MiB of the Java heap", "a text of more than 786432 characters"};
    for (int i = 0; i < headers.length; i++) {
      Path file = write(folder, bytes(headers[i], new byte[0]));
      Process child = ChildProgram.start("24m", "open", file);
      List<String> lines = child.inputReader().lines().toList();
      assertEquals(1, child.waitFor(), lines.toString());
      assertEquals(1, lines.size(), lines.toString());
      assertTrue(lines.get(0).contains(reasons[i]), lines.get(0));
      SafeTensors.open(file).close();
    }
  }

  @Test
  void messagesNeverCarryControlCharactersOrWholeHeaders() throws IOException {
    String name = "\\u001b[2J\\n\\u202e" + "x".repeat(100_000);
    Path file = write(folder, bytes(header(tensor(name, "dtype", "\"bad\"")), counting(4)));
    CheckpointException e =
        assertRefused(file, "\\u001b[2J\\u000a\\u202exxx", () -> SafeTensors.open(file));
    assertTrue(e.getMessage().chars().noneMatch(Character::isISOControl), e.getMessage());
  }

  /** Every prefix of a file, and every change of one of its bytes, either opens or is refused. */
  @Test
  void damageAnywhereIsFoundOrHarmless() throws IOException {
    String header =
        "{\"__metadata__\":{\"k\":\"v\"},"
            + tensor("t")
            + ","
            + tensor("u", "dtype", "\"F16\"", "shape", "[2,1]", "offsets", "[4,8]")
            + "} ";
    byte[] good = bytes(header, counting(8));
    int opened = 0;
    for (int size = 0; size < good.length; size++) {
      byte[] cut = Arrays.copyOf(good, size);
      assertRefused(
          folder.resolve("model.safetensors"),
          "no valid safetensors file",
          () -> SafeTensors.open(write(folder, cut)));
    }
    for (int i = 0; i < good.length; i++) {
      for (int xor : new int[] {1, 2, 4, 16, 32, 128, 255}) {
        byte[] bad = good.clone();
        bad[i] ^= (byte) xor;
        opened += opensOrRefuses(write(folder, bad)) ? 1 : 0;
      }
    }
    int harmless = 8 * 7;
    assertTrue(opened >= harmless, "changes of the data alone must not be refused");
    assertTrue(opened < good.length * 7 / 3, "too many damaged headers were accepted: " + opened);
  }

  private static boolean opensOrRefuses(Path file) throws IOException {
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      for (var tensor : checkpoint.tensors().values()) {
        checkpoint.read(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
      }
      return true;
    } catch (CheckpointException e) {
      assertTrue(e.getMessage().contains("no valid safetensors file"), e.getMessage());
      return false;
    }
  }
}
