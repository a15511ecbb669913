package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.assertRefused;
import static dev.sinew.io.SafeTensorsFiles.bytes;
import static dev.sinew.io.SafeTensorsFiles.counting;
import static dev.sinew.io.SafeTensorsFiles.write;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.Checkpoint.FileRegion;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What a valid file yields; SafeTensorsAttackTest has the invalid ones. */
class SafeTensorsReaderTest {
  @TempDir Path folder;

  private static byte[] read(Checkpoint checkpoint, String tensor) throws IOException {
    ByteBuffer data = ByteBuffer.allocate((int) checkpoint.tensors().get(tensor).bytes());
    checkpoint.read(tensor, 0, data);
    return data.array();
  }

  @Test
  void readsTensorsInTheOrderOfTheirDataAndMetadataInTheOrderOfTheHeader() throws IOException {
    String header =
        "{\"b\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[8,12]},"
            + "\"__metadata__\":{\"z\":\"1\",\"a\":\"\\u00e9 \\ud83d\\ude00\"},"
            + "\"a\":{\"shape\":[2,1],\"data_offsets\":[0,8],\"dtype\":\"F32\"}}  ";
    Path file = write(folder, bytes(header, counting(12)));
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      assertEquals(file, checkpoint.path());
      assertEquals("safetensors", checkpoint.format());
      assertEquals(
          List.of(TensorInfo.of("a", DType.F32, 2, 1), TensorInfo.of("b", DType.I16, 2)),
          List.copyOf(checkpoint.tensors().values()));
      assertEquals(List.of("a", "b"), List.copyOf(checkpoint.tensors().keySet()));
      assertEquals(List.of("z", "a"), List.copyOf(checkpoint.metadata().keySet()));
      assertEquals("\u00e9 \ud83d\ude00", checkpoint.metadata().get("a"));
      assertArrayEquals(new byte[] {0, 1, 2, 3, 4, 5, 6, 7}, read(checkpoint, "a"));
      assertArrayEquals(new byte[] {8, 9, 10, 11}, read(checkpoint, "b"));
      long dataStart = 8 + header.getBytes(StandardCharsets.UTF_8).length;
      assertEquals(new FileRegion(file, dataStart + 8, 4), checkpoint.region("b").orElseThrow());
      assertThrows(UnsupportedOperationException.class, () -> checkpoint.tensors().remove("a"));
      assertThrows(UnsupportedOperationException.class, () -> checkpoint.metadata().clear());
    }
  }

  static Stream<Arguments> unusual() {
    String t = "{\"t\":{\"dtype\":";
    return Stream.of(
        Arguments.of("{}", 0),
        Arguments.of("{} \t\r\n ", 0),
        Arguments.of("{\"__metadata__\":{}}", 0),
        Arguments.of("{\"__metadata__\":null}", 0),
        Arguments.of(t + "\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4),
        Arguments.of(t + "\"F32\",\"shape\":[3,0,2],\"data_offsets\":[0,0]}}", 0),
        Arguments.of(t + "\"U8\",\"shape\":[" + "1,".repeat(99) + "1],\"data_offsets\":[0,1]}}", 1),
        Arguments.of(t + "\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1),
        Arguments.of(t + "\"F6_E2M3\",\"shape\":[2,2],\"data_offsets\":[0,3]}}", 3),
        Arguments.of("{\"\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1));
  }

  @ParameterizedTest
  @MethodSource("unusual")
  void acceptsWhatTheFormatAllows(String header, int size) throws IOException {
    Path file = write(folder, bytes(header, counting(size)));
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      assertEquals(header.contains("dtype") ? 1 : 0, checkpoint.tensors().size());
      for (String tensor : checkpoint.tensors().keySet()) {
        assertArrayEquals(counting(size), read(checkpoint, tensor));
      }
    }
  }

  @Test
  void acceptsEmptyTensorsBetweenOthers() throws IOException {
    String header =
        "{\"e2\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[2,2]},"
            + "\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
            + "\"e1\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]},"
            + "\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}";
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes(header, counting(3))))) {
      assertEquals(List.of("e1", "x", "e2", "y"), List.copyOf(checkpoint.tensors().keySet()));
      assertArrayEquals(new byte[] {2}, read(checkpoint, "y"));
      assertEquals(0, checkpoint.region("e2").orElseThrow().bytes());
    }
  }

  @Test
  void ignoresUnknownKeysOfAnEntryAsTheReferenceDoes() throws IOException {
    String header =
        "{\"t\":{\"dtype\":\"U8\",\"extra\":{\"a\":[1,{\"a\":null}],\"a\":-1.5e3},"
            + "\"shape\":[1],\"data_offsets\":[0,1],\"extra\":true}}";
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes(header, counting(1))))) {
      assertEquals(List.of("t"), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  @Test
  void readsEveryRangeIntoHeapAndDirectBuffers() throws IOException {
    byte[] data = counting(37);
    String header = "{\"t\":{\"dtype\":\"U8\",\"shape\":[37],\"data_offsets\":[0,37]}}";
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes(header, data)))) {
      for (int from = 0; from <= 37; from++) {
        for (int to = from; to <= 37; to++) {
          for (ByteBuffer target :
              List.of(ByteBuffer.allocate(40), ByteBuffer.allocateDirect(40))) {
            target.position(1).limit(1 + to - from);
            checkpoint.read("t", from, target);
            assertEquals(1 + to - from, target.position());
            assertEquals(1 + to - from, target.limit());
            byte[] got = new byte[to - from];
            target.get(1, got);
            assertArrayEquals(Arrays.copyOfRange(data, from, to), got);
            assertEquals(0, target.get(0), "bytes before the position stay");
          }
        }
      }
    }
  }

  @Test
  void refusesRangesOutsideATensorAndUnknownTensors() throws IOException {
    String header =
        "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            + "\"u\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}";
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes(header, counting(8))))) {
      for (long offset : new long[] {-1, 3, 4, 5, Long.MAX_VALUE, Long.MIN_VALUE}) {
        assertThrows(
            IllegalArgumentException.class,
            () -> checkpoint.read("t", offset, ByteBuffer.allocate(2)),
            "offset " + offset);
      }
      checkpoint.read("t", 4, ByteBuffer.allocate(0));
      assertThrows(
          IllegalArgumentException.class, () -> checkpoint.read("none", 0, ByteBuffer.allocate(0)));
      assertThrows(IllegalArgumentException.class, () -> checkpoint.region("none"));
    }
  }

  @Test
  void readingAfterCloseIsAnError() throws IOException {
    String header = "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    Path file = write(folder, bytes(header, counting(4)));
    Checkpoint checkpoint = SafeTensors.open(file);
    checkpoint.close();
    checkpoint.close();
    assertRefused(file, "closed", () -> checkpoint.read("t", 0, ByteBuffer.allocate(4)));
  }

  @Test
  void aFileThatShrinksWhileReadIsAnErrorThatNamesTheTensor() throws IOException {
    String header = "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    Path file = write(folder, bytes(header, counting(4)));
    try (Checkpoint checkpoint = SafeTensors.open(file);
        RandomAccessFile shrinking = new RandomAccessFile(file.toFile(), "rw")) {
      shrinking.setLength(shrinking.length() - 1);
      assertRefused(
          file,
          "cannot read tensor 't' of '" + file + "': the file has become shorter",
          () -> checkpoint.read("t", 0, ByteBuffer.allocate(4)));
      ByteBuffer still = ByteBuffer.allocate(3);
      checkpoint.read("t", 0, still);
      assertArrayEquals(new byte[] {0, 1, 2}, still.array());
    }
  }

  @Test
  void offsetsBeyondFourGibibytesAreExact() throws IOException {
    long big = 5L << 30;
    String header =
        "{\"big\":{\"dtype\":\"U8\",\"shape\":[5,1073741824],\"data_offsets\":[0,"
            + big
            + "]},\"last\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":["
            + big
            + ","
            + (big + 8)
            + "]}}";
    byte[] start = bytes(header, new byte[0]);
    Path file = write(folder, start);
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.seek(start.length + (4L << 30));
      sparse.write(77);
      sparse.seek(start.length + big - 1);
      sparse.write(new byte[] {99, 1, 0, 0, 0, 2, 0, 0, 0});
    }
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      ByteBuffer ints = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
      checkpoint.read("last", 0, ints);
      assertEquals(1, ints.getInt(0));
      assertEquals(2, ints.getInt(4));
      ByteBuffer one = ByteBuffer.allocate(1);
      checkpoint.read("big", 4L << 30, one);
      assertEquals(77, one.get(0));
      checkpoint.read("big", big - 1, one.clear());
      assertEquals(99, one.get(0));
      assertEquals(
          new FileRegion(file, start.length + big, 8), checkpoint.region("last").orElseThrow());
    }
  }

  @Test
  void aHeaderOfExactlyTheLimitIsReadAndOneByteMoreIsNot() throws IOException {
    Path file = folder.resolve("model.safetensors");
    for (int extra = 0; extra <= 1; extra++) {
      byte[] header = new byte[100_000_000 + extra];
      Arrays.fill(header, (byte) ' ');
      header[0] = '{';
      header[1] = '}';
      Files.write(file, bytes(header, new byte[0]));
      if (extra == 0) {
        try (Checkpoint checkpoint = SafeTensors.open(file)) {
          assertTrue(checkpoint.tensors().isEmpty());
        }
      } else {
        assertRefused(file, "limit of 100000000", () -> SafeTensors.open(file));
      }
    }
  }

  @Test
  void manyThreadsReadAtOnce() throws Exception {
    Random random = new Random(20240607);
    byte[] data = new byte[3_000_017];
    random.nextBytes(data);
    String header = "{\"t\":{\"dtype\":\"U8\",\"shape\":[3000017],\"data_offsets\":[0,3000017]}}";
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes(header, data)))) {
      List<Future<?>> results = new ArrayList<>();
      for (int i = 0; i < 64; i++) {
        int from = random.nextInt(data.length);
        int size = random.nextInt(data.length - from);
        boolean direct = i % 2 == 0;
        results.add(
            threads.submit(
                () -> {
                  ByteBuffer target =
                      direct ? ByteBuffer.allocateDirect(size) : ByteBuffer.allocate(size);
                  checkpoint.read("t", from, target);
                  assertEquals(ByteBuffer.wrap(data, from, size), target.flip());
                  return null;
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  /** Shapes and SHA-256 sums were computed with Python's json, struct and hashlib modules. */
  @ParameterizedTest
  @CsvSource(
      delimiter = ' ',
      value = {
        "mnist/cnn.safetensors 20 norm1.num_batches_tracked I64 []"
            + " 0dfa9e07ca7e82a7c6c69bd9e4a6a21b969857031b7d8b6e31891472099cfd65",
        "mnist/cnn.safetensors 20 conv1.weight F32 [8,1,3,3]"
            + " 49eeba3178cee658cd15345ee9ba0527e9ea15834eca5e0586a753c3ec6804eb",
        "mnist/cnn.safetensors 20 fc1.weight F32 [32,11616]"
            + " 5e64cde4927011d0cbc409347910ea56e607296e6a66b10bd6cc43baaa6831de",
        "mnist/cnn.safetensors 20 norm2.weight F32 [10]"
            + " 9113aee09982b68ab2709c29717b2f800a6acb1ab109159e6ec90a35f588df42",
        "silero-vad/silero-vad-16k.safetensors 15 stft_conv.weight F32 [258,1,256]"
            + " 3b69ddad309d34245d2960d93be421e5a99360c26e200e7efb309da25b6eecd9",
        "silero-vad/silero-vad-16k.safetensors 15 lstm_cell.weight_hh F32 [512,128]"
            + " 71873f3762cb371c01a0b55bbea525b3c7c1c978f70d2cc82500b049c7d17c4e",
        "silero-vad/silero-vad-16k.safetensors 15 final_conv.bias F32 [1]"
            + " a12ffa447c86cc469d9f512471f18a9f2fa47b2e526c55a7633b55794d237478",
      })
  void readsRealFiles(
      String name, int tensors, String tensor, DType dtype, String shape, String sha)
      throws Exception {
    Path file = Path.of(System.getProperty("sinew.data", "")).resolve(name);
    assumeTrue(Files.exists(file), "skipped: no " + name + " in the folder of -Dsinew.data");
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      assertEquals(tensors, checkpoint.tensors().size());
      TensorInfo info = checkpoint.tensors().get(tensor);
      assertEquals(dtype, info.dtype());
      assertEquals(shape, info.shape().toString().replace(" ", ""));
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(read(checkpoint, tensor));
      assertEquals(sha, HexFormat.of().formatHex(digest));
      FileRegion region = checkpoint.region(tensor).orElseThrow();
      try (var channel = Files.newByteChannel(region.file(), StandardOpenOption.READ)) {
        ByteBuffer data = ByteBuffer.allocate((int) region.bytes());
        channel.position(region.offset()).read(data);
        assertArrayEquals(read(checkpoint, tensor), data.array());
      }
    }
  }

  @Test
  void metadataIsEmptyWhenThereIsNone() throws IOException {
    try (Checkpoint checkpoint = SafeTensors.open(write(folder, bytes("{}", new byte[0])))) {
      assertEquals(Map.of(), checkpoint.metadata());
    }
  }
}
