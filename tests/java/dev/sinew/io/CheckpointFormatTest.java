package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.assertRefused;
import static dev.sinew.io.SafeTensorsFiles.bytes;
import static dev.sinew.io.SafeTensorsFiles.counting;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointFormatTest {
  private static final String TENSOR =
      "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";

  @TempDir Path folder;

  private static Arguments hex(String bytes, String says) {
    return Arguments.of(HexFormat.of().parseHex(bytes.replace(" ", "")), says);
  }

  private static Arguments text(String text, String says) {
    return Arguments.of(text.getBytes(StandardCharsets.UTF_8), says);
  }

  private static byte[] tar(String member) {
    byte[] file = new byte[1024];
    byte[] name = member.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(name, 0, file, 0, name.length);
    System.arraycopy("ustar  ".getBytes(StandardCharsets.US_ASCII), 0, file, 257, 7);
    int sum = 8 * ' ';
    for (byte b : file) {
      sum += b;
    }
    byte[] checksum = String.format("%06o", sum).getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(checksum, 0, file, 148, 6);
    return file;
  }

  static Stream<Arguments> foreign() {
    String zeros = "00".repeat(64);
    return Stream.of(
        hex("", "is empty"),
        hex("00", "begins with 1 zero bytes"),
        hex(zeros, "begins with 64 zero bytes"),
        hex("80 02 7d 71 00 2e", "is a Python pickle"),
        hex("80 02 8a 0a 6c fc 9c 46 f9 20 6a a8 50 18 2e", "is a Python pickle"),
        hex("80 02 8a 0a 6c fc 9c", "is a Python pickle"),
        hex("80 04 95 05 00 00 00 00 00 00 00 7d 94 2e", "is a Python pickle"),
        Arguments.of(tar("weights.bin"), "is a tar archive"),
        text("GGUF\3\0\0\0", "is a GGUF model"),
        text("lmgg\0\0\0\0", "old GGML format"),
        text("fmgg\1\0\0\0", "old GGMF format"),
        text("tjgg\3\0\0\0", "old GGJT format"),
        text("algg\1\0\0\0", "old GGLA format"),
        text("\u001c\0\0\0TFL3\u0014\0", "is a TensorFlow Lite model"),
        hex("08 01 12 d9 0a 0a 2b 12 05", "is a TensorFlow SavedModel"),
        hex("08 07 12 07 70 79 74 6f 72 63 68 1a 03 31 2e 39", "is an ONNX model"),
        hex("08 0a 3a 8c 01 0a 1b 0a 01 78", "is an ONNX model"),
        hex("08 08 42 02 10 0d", "is an ONNX model"),
        hex("89 48 44 46 0d 0a 1a 0a 00", "is an HDF5 file"),
        hex("93 4e 55 4d 50 59 01 00 76 00", "is a NumPy array"),
        hex("1f 8b 08 00 00 00 00 00 00 03", "compressed with gzip; unpack it with gunzip"),
        hex("fd 37 7a 58 5a 00 00 04", "compressed with xz"),
        hex("42 5a 68 39 31 41 59 26 53 59", "compressed with bzip2"),
        hex("28 b5 2f fd 04 00", "compressed with zstd"),
        hex("04 22 4d 18 64 40", "compressed with lz4"),
        hex("37 7a bc af 27 1c 00 04", "is a 7-Zip archive"),
        hex("52 61 72 21 1a 07 01 00", "is a RAR archive"),
        hex("7f 45 4c 46 02 01 01 00", "program or a library"),
        text("%PDF-1.7\n", "is a PDF document"),
        text("<!DOCTYPE html><html>", "is a web page"),
        text("\ufeff \r\n\t<!doctype HTML>", "is a web page"),
        text("\n<HTML lang=en>", "is a web page"),
        text("<html>\0\1\2", "is a web page"),
        text("<?xml version=\"1.0\"?>", "is XML or HTML"),
        text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        text("version https://hawser.github.com/spec/v1\n", "git lfs pull"),
        text("{\"metadata\":{},\"weight_map\":{\"a\":\"b\"}}", "index of a model in several files"),
        text(" {\"architectures\": []}", "is JSON"),
        text("[1, 2]", "is JSON"),
        text("Entry not found", "is plain text"),
        text("caf\u00e9 " + "x".repeat(5000), "is plain text"),
        hex("de ad be ef 01", "has only 5 bytes"),
        hex("de ad be ef 00 01 02 03 04 05", "the bytes de ad be ef 00 01 02 03)"),
        hex("01 00 00 00 00 00 00 00 02 00", "is in no format that can be read"),
        // Half of what makes a safetensors file.
        hex("08 00 00 00 00 00 00 00" + "5b 7d 20 20 20 20 20 20", "length of 8 the '{'"),
        hex("00 00 00 00 00 00 00 80" + "7b 22 74 22", "would take 9223372036854775808 bytes"),
        hex("00 e2 f5 05 00 00 00 00" + "7b 22 74 22", "would take 100000256 bytes"),
        hex("00 00 00 00 00 00 00 00" + "7b 7d", "would take 0 bytes"));
  }

  @ParameterizedTest
  @MethodSource("foreign")
  void saysWhatAFileSeemsToBe(byte[] content, String says) throws IOException {
    // The name promises something else: it must not count.
    Path file = Files.write(folder.resolve("model.safetensors"), content);
    assertRefused(file, says, () -> CheckpointFormat.open(file));
  }

  @Test
  void opensSafetensorsUnderAnyName() throws IOException {
    for (String name : List.of("model.safetensors", "model.pt", "model.gguf", "model")) {
      Path file = Files.write(folder.resolve(name), bytes(TENSOR, counting(4)));
      assertEquals(CheckpointFormat.SAFETENSORS, CheckpointFormat.recognize(file));
      try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
        assertEquals("safetensors", checkpoint.format());
        assertEquals(1, checkpoint.tensors().size());
      }
    }
  }

  @Test
  void aTruncatedSafetensorsFileIsStillOne() throws IOException {
    byte[] whole = bytes(TENSOR, counting(4));
    for (int size = 9; size < whole.length; size++) {
      Path file = Files.write(folder.resolve("model.bin"), Arrays.copyOf(whole, size));
      assertRefused(file, "no valid safetensors file", () -> CheckpointFormat.open(file));
    }
  }

  /** A header of exactly as many bytes as a zip archive's signature says is not a zip archive. */
  @Test
  void aHeaderLengthThatLooksLikeAZipSignature() throws IOException {
    byte[] start = HexFormat.of().parseHex("504b0304000000007b7d");
    Path file = Files.write(folder.resolve("model"), start);
    assertEquals(CheckpointFormat.SAFETENSORS, CheckpointFormat.recognize(file));
  }

  @ParameterizedTest
  @CsvSource({
    "504b03040000080800000000000000000000, as torch.save begins one",
    "504b0304140000000800, as others begin one",
    "504b0506000000000000000000000000000000000000, empty",
  })
  void zipArchivesGoToPyTorch(String hex, String kind) throws IOException {
    Path file = Files.write(folder.resolve("model.safetensors"), HexFormat.of().parseHex(hex));
    assertEquals(CheckpointFormat.PYTORCH, CheckpointFormat.recognize(file));
  }

  /** Of protocol 2, 3 and 4 (with a frame), and cut in the middle of the magic number. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "80028a0a6cfc9c46f9206aa850192e80024de9032e",
        "80038a0a6cfc9c46f9206aa850192e",
        "8004950d000000000000008a0a6cfc9c46f9206aa850192e",
        "80028a0a6cfc9c46f920",
      })
  void sequencesOfPicklesGoToPyTorch(String hex) throws IOException {
    Path file = Files.write(folder.resolve("model.tar"), HexFormat.of().parseHex(hex));
    assertEquals(CheckpointFormat.PYTORCH, CheckpointFormat.recognize(file));
  }

  @ParameterizedTest
  @ValueSource(strings = {"sys_info", "./pickle", "storages", "tensors"})
  void tarArchivesOfPyTorchGoToPyTorch(String member) throws IOException {
    Path file = Files.write(folder.resolve("model.zip"), tar(member));
    assertEquals(CheckpointFormat.PYTORCH, CheckpointFormat.recognize(file));
  }

  /** What is at the place of tar's signature does not make an archive of another format. */
  @Test
  void theSignatureOfTarInOtherFormats() throws IOException {
    String name = "n".repeat(257 - 8 - 2) + "ustar";
    byte[] safetensors = bytes(TENSOR.replace("\"t\"", "\"" + name + "\""), counting(4));
    assertEquals("ustar", new String(safetensors, 257, 5, StandardCharsets.US_ASCII));
    Path file = Files.write(folder.resolve("model"), safetensors);
    try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
      assertEquals(Set.of(name), checkpoint.tensors().keySet());
    }
    byte[] pickle = new PickleBuilder().floats("0", 1).stop();
    byte[] zip = TorchZip.empty().entry("a/" + "n".repeat(225) + "ustar", "").bytes();
    assertEquals("ustar", new String(zip, 257, 5, StandardCharsets.US_ASCII));
    TorchZip whole = TorchZip.empty().entry("a/" + "n".repeat(225) + "ustar", "");
    whole.entry("a/data.pkl", pickle).entry("a/data/0", new byte[4]);
    CheckpointFormat.open(Files.write(file, whole.bytes())).close();
  }

  @Test
  void whatIsNoRegularFileIsRefusedWithoutWaiting() throws Exception {
    Path fifo = folder.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    for (Path special : List.of(fifo, Path.of("/dev/zero"), Path.of("/dev/null"))) {
      assertTimeoutPreemptively(
          Duration.ofSeconds(20),
          () ->
              assertRefused(
                  special,
                  "is a pipe, a socket or a device",
                  () -> CheckpointFormat.open(special)));
    }
    assertRefused(folder, "is a folder", () -> CheckpointFormat.open(folder));
  }

  @Test
  void whatCannotBeOpenedIsRefused() throws IOException {
    Path missing = folder.resolve("missing");
    assertRefused(missing, "does not exist", () -> CheckpointFormat.open(missing));
    Path dangling = Files.createSymbolicLink(folder.resolve("dangling"), missing);
    assertRefused(dangling, "does not exist", () -> CheckpointFormat.open(dangling));
    Path loop = folder.resolve("loop");
    Files.createSymbolicLink(loop, loop);
    assertRefused(loop, "cannot read", () -> CheckpointFormat.open(loop));
    Path inFile = Files.createFile(folder.resolve("file")).resolve("model");
    assertRefused(inFile, "Not a directory", () -> CheckpointFormat.open(inFile));
  }

  @Test
  void aFileWithoutReadPermissionIsRefused() throws IOException {
    Path file = Files.write(folder.resolve("model"), bytes(TENSOR, counting(4)));
    Files.setPosixFilePermissions(file, Set.of(PosixFilePermission.OWNER_WRITE));
    assumeTrue(!Files.isReadable(file), "skipped: this user (root) may read everything");
    assertRefused(file, "Permission denied", () -> CheckpointFormat.open(file));
  }

  @ParameterizedTest
  @CsvSource({
    "mnist/cnn.onnx, is an ONNX model",
    "face-detector/rfb-320.onnx, is an ONNX model",
    "mnist/t10k-images-idx3-ubyte.gz, compressed with gzip",
    "text/tinyshakespeare.txt, is plain text",
    "onnx-node/test_quantizelinear/model.onnx, is an ONNX model",
  })
  void saysWhatRealFilesAre(String name, String says) {
    Path file = data(name);
    assertRefused(file, says, () -> CheckpointFormat.open(file));
  }

  @ParameterizedTest
  @CsvSource({
    "mnist/cnn.safetensors, SAFETENSORS",
    "silero-vad/silero-vad-16k.safetensors, SAFETENSORS",
    "mnist/cnn.pt, PYTORCH",
    "face-detector/rfb-320-masked.pth, PYTORCH",
    "face-detector/rfb-320.pth, PYTORCH",
  })
  void recognizesRealCheckpoints(String name, CheckpointFormat format) throws IOException {
    assertEquals(format, CheckpointFormat.recognize(data(name)));
  }

  private static Path data(String name) {
    Path file = Path.of(System.getProperty("sinew.data", "")).resolve(name);
    assumeTrue(Files.exists(file), "skipped: no " + name + " in the folder of -Dsinew.data");
    return file;
  }
}
