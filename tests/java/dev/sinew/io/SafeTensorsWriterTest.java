package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.assertRefused;
import static dev.sinew.io.SafeTensorsFiles.bytes;
import static dev.sinew.io.SafeTensorsFiles.counting;
import static dev.sinew.io.SafeTensorsFiles.names;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SafeTensorsWriterTest {
  private static final TensorInfo FOUR_BYTES = TensorInfo.of("t", DType.U8, 4);

  @TempDir Path folder;
  private Path target;

  @BeforeEach
  void target() {
    target = folder.resolve("out.safetensors");
  }

  private CheckpointWriter create(TensorInfo... tensors) throws IOException {
    return SafeTensors.create(target, List.of(tensors), Map.of(), false);
  }

  /** Bits per element, written down again from the reference implementation's table. */
  private static int bits(DType dtype) {
    return switch (dtype) {
      case F4 -> 4;
      case F6_E2M3, F6_E3M2 -> 6;
      case BOOL, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ -> 8;
      case I16, U16, F16, BF16 -> 16;
      case I32, U32, F32 -> 32;
      case C64, F64, I64, U64 -> 64;
    };
  }

  @Test
  void bytesAreExactlyThoseOfTheSpecification() throws IOException {
    Map<String, String> metadata = new HashMap<>();
    metadata.put("b", "\"\\\u00e9\n");
    metadata.put("a", "1");
    try (CheckpointWriter writer =
        SafeTensors.create(
            target,
            List.of(
                TensorInfo.of("half", DType.F16, 3),
                TensorInfo.of("\u4e2d", DType.F64),
                TensorInfo.of("none", DType.I32, 2, 0),
                TensorInfo.of("one", DType.I16, 1, 1)),
            metadata,
            false)) {
      writer.write("one", 0, ByteBuffer.wrap(new byte[] {14, 15}));
      writer.write("half", 2, ByteBuffer.wrap(new byte[] {10, 11, 12, 13}));
      writer.write("\u4e2d", 0, ByteBuffer.wrap(counting(8)));
      writer.write("half", 0, ByteBuffer.wrap(new byte[] {8, 9}));
      writer.write("none", 0, ByteBuffer.allocate(0));
      writer.commit();
    }
    String header =
        "{\"__metadata__\":{\"a\":\"1\",\"b\":\"\\\"\\\\\u00e9\\n\"},"
            + "\"\u4e2d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
            + "\"none\":{\"dtype\":\"I32\",\"shape\":[2,0],\"data_offsets\":[8,8]},"
            + "\"half\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[8,14]},"
            + "\"one\":{\"dtype\":\"I16\",\"shape\":[1,1],\"data_offsets\":[14,16]}}";
    int length = header.getBytes(StandardCharsets.UTF_8).length;
    String padded = header + " ".repeat((8 - length % 8) % 8);
    assertArrayEquals(bytes(padded, counting(16)), Files.readAllBytes(target));
    assertEquals(List.of("out.safetensors"), names(folder));
  }

  /** The file that the reference implementation's own test expects for no tensors at all. */
  @Test
  void aFileWithoutTensors() throws IOException {
    try (CheckpointWriter writer = create()) {
      writer.commit();
    }
    assertArrayEquals(
        new byte[] {8, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' ', ' ', ' ', ' ', ' ', ' '},
        Files.readAllBytes(target));
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void everyDTypeSurvives(DType dtype) throws IOException {
    long elements = 4 * 7;
    int size = (int) (elements * bits(dtype) / 8);
    try (CheckpointWriter writer = create(TensorInfo.of("t", dtype, 4, 7))) {
      writer.write("t", 0, ByteBuffer.wrap(counting(size)));
      writer.commit();
    }
    try (Checkpoint checkpoint = SafeTensors.open(target)) {
      TensorInfo info = checkpoint.tensors().get("t");
      assertEquals(TensorInfo.of("t", dtype, 4, 7), info);
      assertEquals(size, info.bytes());
      ByteBuffer data = ByteBuffer.allocate(size);
      checkpoint.read("t", 0, data);
      assertArrayEquals(counting(size), data.array());
    }
  }

  @Test
  void everyTensorIsAlignedWhateverTheOrderAndTheNames() throws IOException {
    Random random = new Random(7);
    List<TensorInfo> tensors = new ArrayList<>();
    for (DType dtype : DType.values()) {
      for (int i = 0; i < 3; i++) {
        // A multiple of 4 elements, so that 4 and 6 bits fill whole bytes.
        tensors.add(TensorInfo.of("x".repeat(i) + dtype, dtype, 4 * random.nextInt(6)));
      }
    }
    Collections.shuffle(tensors, random);
    try (CheckpointWriter writer = SafeTensors.create(target, tensors, Map.of(), false)) {
      for (TensorInfo tensor : tensors) {
        writer.write(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
      }
      writer.commit();
    }
    try (Checkpoint checkpoint = SafeTensors.open(target)) {
      List<TensorInfo> expected = new ArrayList<>(tensors);
      expected.sort((a, b) -> bits(b.dtype()) - bits(a.dtype()));
      List<TensorInfo> written = List.copyOf(checkpoint.tensors().values());
      // Empty tensors share an offset with the next one, so the reader may list them earlier.
      assertEquals(
          expected.stream().filter(t -> t.bytes() > 0).toList(),
          written.stream().filter(t -> t.bytes() > 0).toList());
      assertEquals(Set.copyOf(expected), Set.copyOf(written));
      for (TensorInfo tensor : written) {
        long offset = checkpoint.region(tensor.name()).orElseThrow().offset();
        assertEquals(0, offset % Math.max(1, bits(tensor.dtype()) / 8), tensor.toString());
      }
    }
  }

  @Test
  void manyThreadsWriteTilesInAnyOrder() throws Exception {
    Random random = new Random(42);
    byte[] a = new byte[1_000_003];
    byte[] b = new byte[4 * 65_537];
    random.nextBytes(a);
    random.nextBytes(b);
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try (CheckpointWriter writer =
        create(TensorInfo.of("a", DType.I8, a.length), TensorInfo.of("b", DType.F32, 65_537))) {
      List<Runnable> tiles = new ArrayList<>();
      for (var tensor : Map.of("a", a, "b", b).entrySet()) {
        byte[] data = tensor.getValue();
        for (int from = 0; from < data.length; from += 4099) {
          ByteBuffer heap = ByteBuffer.wrap(data, from, Math.min(4099, data.length - from));
          ByteBuffer direct = ByteBuffer.allocateDirect(heap.remaining()).put(heap.slice()).flip();
          ByteBuffer tile = random.nextBoolean() ? heap : direct;
          int offset = from;
          tiles.add(
              () -> {
                try {
                  writer.write(tensor.getKey(), offset, tile);
                  assertEquals(0, tile.remaining());
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              });
        }
      }
      Collections.shuffle(tiles, random);
      List<Future<?>> results = new ArrayList<>();
      for (Runnable tile : tiles) {
        results.add(threads.submit(tile));
      }
      for (Future<?> result : results) {
        result.get();
      }
      writer.commit();
    } finally {
      threads.shutdownNow();
    }
    byte[] file = Files.readAllBytes(target);
    int end = file.length;
    assertArrayEquals(a, Arrays.copyOfRange(file, end - a.length, end));
    assertArrayEquals(b, Arrays.copyOfRange(file, end - a.length - b.length, end - a.length));
  }

  @Test
  void buffersLargerThanOneSystemCallTakes() throws IOException {
    byte[] data = new byte[(3 << 20) + 17];
    new Random(3).nextBytes(data);
    TensorInfo tensor = TensorInfo.of("t", DType.U8, 2, data.length);
    try (CheckpointWriter writer = create(tensor)) {
      ByteBuffer heap = ByteBuffer.allocate(data.length + 2).put(1, data);
      heap.position(1).limit(1 + data.length);
      writer.write("t", 0, heap);
      assertEquals(1 + data.length, heap.position());
      writer.write("t", data.length, ByteBuffer.allocateDirect(data.length).put(data).flip());
      writer.commit();
    }
    byte[] file = Files.readAllBytes(target);
    int middle = file.length - data.length;
    assertArrayEquals(data, Arrays.copyOfRange(file, middle, file.length));
    assertArrayEquals(data, Arrays.copyOfRange(file, middle - data.length, middle));
  }

  @Test
  void offsetsBeyondFourGibibytesAreExact() throws IOException {
    long big = 5L << 30;
    try (CheckpointWriter writer =
        create(TensorInfo.of("big", DType.I32, big / 4), TensorInfo.of("last", DType.I32, 1))) {
      writer.write("last", 0, ByteBuffer.wrap(new byte[] {1, 2, 3, 4}));
      writer.write("big", big - 2, ByteBuffer.wrap(new byte[] {5, 6}));
      writer.write("big", 4L << 30, ByteBuffer.wrap(new byte[] {7}));
      Path temporary = folder.resolve(names(folder).get(0));
      try (RandomAccessFile sparse = new RandomAccessFile(temporary.toFile(), "r")) {
        long dataStart = sparse.length() - big - 4;
        assertEquals(0, dataStart % 8);
        assertTrue(dataStart < 300, "header of " + dataStart + " bytes");
        byte[] end = new byte[6];
        sparse.seek(dataStart + big - 2);
        sparse.readFully(end);
        assertArrayEquals(new byte[] {5, 6, 1, 2, 3, 4}, end);
        sparse.seek(dataStart + (4L << 30));
        assertEquals(7, sparse.read());
      }
      assertRefused(target, "of tensor 'big' only 3 of 5368709120 bytes", writer::commit);
    }
    assertEquals(List.of(), names(folder));
  }

  @Test
  void aCommitWithMissingBytesWritesNothing() throws IOException {
    try (CheckpointWriter writer = create(FOUR_BYTES, TensorInfo.of("u", DType.U8, 1))) {
      writer.write("t", 0, ByteBuffer.allocate(3));
      writer.write("u", 0, ByteBuffer.allocate(1));
      assertRefused(target, "of tensor 't' only 3 of 4 bytes", writer::commit);
      assertEquals(List.of(), names(folder));
      assertThrows(CheckpointException.class, () -> writer.write("t", 3, ByteBuffer.allocate(1)));
      assertThrows(IOException.class, writer::commit);
    }
    assertEquals(List.of(), names(folder));
  }

  @Test
  void closeWithoutCommitLeavesNothing() throws IOException {
    CheckpointWriter writer = create(FOUR_BYTES);
    writer.write("t", 0, ByteBuffer.allocate(4));
    assertEquals(1, names(folder).size());
    writer.close();
    writer.close();
    assertEquals(List.of(), names(folder));
    assertThrows(IllegalStateException.class, writer::commit);
  }

  @Test
  void refusesWritesOutsideATensorAndUnknownTensors() throws IOException {
    try (CheckpointWriter writer = create(FOUR_BYTES, TensorInfo.of("u", DType.U8, 4))) {
      for (long offset : new long[] {-1, 3, 4, Long.MAX_VALUE, Long.MIN_VALUE}) {
        assertThrows(
            IllegalArgumentException.class,
            () -> writer.write("t", offset, ByteBuffer.allocate(2)),
            "offset " + offset);
      }
      assertThrows(
          IllegalArgumentException.class, () -> writer.write("none", 0, ByteBuffer.allocate(0)));
    }
  }

  @Test
  void refusesTensorsThatTheFormatCannotHold() throws IOException {
    assertThrows(IllegalArgumentException.class, () -> create(FOUR_BYTES, FOUR_BYTES));
    assertRefused(
        target, "reserves that name", () -> create(TensorInfo.of("__metadata__", DType.U8, 1)));
    assertRefused(target, "not valid Unicode", () -> create(TensorInfo.of("\ud800", DType.U8, 1)));
    long[] shape = new long[1025];
    Arrays.fill(shape, 1);
    assertRefused(
        target, "more than 1024 dimensions", () -> create(TensorInfo.of("t", DType.U8, shape)));
    assertRefused(
        target,
        "more than 2^63 bytes",
        () ->
            create(
                TensorInfo.of("a", DType.U8, Long.MAX_VALUE),
                TensorInfo.of("b", DType.U8, Long.MAX_VALUE)));
    assertRefused(
        target,
        "metadata 'k' to",
        () -> SafeTensors.create(target, List.of(), Map.of("k", "\udfff"), false));
    assertRefused(
        target,
        "the format's limit",
        () -> SafeTensors.create(target, List.of(), Map.of("k", "x".repeat(100_000_000)), false));
    assertEquals(List.of(), names(folder));
  }

  @Test
  void namesSurviveWhateverTheyContain() throws IOException {
    List<String> names =
        List.of("", " ", "a\"b\\c/d", "\u0000\n\u001b", "\ud83d\ude00", "\u2028", "\ufeff", "'");
    List<TensorInfo> tensors = names.stream().map(n -> TensorInfo.of(n, DType.BOOL, 1)).toList();
    try (CheckpointWriter writer = SafeTensors.create(target, tensors, Map.of("", ""), false)) {
      for (String name : names) {
        writer.write(name, 0, ByteBuffer.allocate(1));
      }
      writer.commit();
    }
    try (Checkpoint checkpoint = SafeTensors.open(target)) {
      assertEquals(names, List.copyOf(checkpoint.tensors().keySet()));
      assertEquals(Map.of("", ""), checkpoint.metadata());
    }
  }

  @Test
  void anExistingTargetIsRefusedBeforeAnythingIsWritten() throws IOException {
    Files.writeString(target, "old");
    assertRefused(target, "exists already; give --force", () -> create(FOUR_BYTES));
    assertEquals("old", Files.readString(target));
    assertEquals(List.of("out.safetensors"), names(folder));
  }
}
