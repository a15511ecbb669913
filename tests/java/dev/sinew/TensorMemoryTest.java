package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.internal.NativeLibrary;
import java.io.UncheckedIOException;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ReadOnlyBufferException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tensors over memory that is not theirs: direct buffers and mapped files. */
class TensorMemoryTest {
  @TempDir Path folder;

  private static void assertMessage(Throwable e, String... parts) {
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), "'" + part + "' is not in: " + e.getMessage());
    }
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Test
  void wrapsTheRemainingBytesWithoutACopy() {
    ByteBuffer buffer = direct(32);
    buffer.position(8).limit(20);
    try (Tensor tensor = Tensor.wrap(Device.cpu(), buffer, DType.F32, 3)) {
      assertEquals(8, buffer.position());
      buffer.putFloat(8, 1.5f).putFloat(16, 2.5f);
      assertArrayEquals(new float[] {1.5f, 0, 2.5f}, tensor.toFloats());
      Ops.pruneThreshold(tensor, 2, tensor);
      assertEquals(0, buffer.getFloat(8));
    }
    buffer.putFloat(8, 3); // closing does not free what is not the tensor's
  }

  @Test
  void buffersThatCannotBeWrapped() {
    ByteBuffer buffer = direct(32);
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> Tensor.wrap(Device.cpu(), ByteBuffer.allocate(8), DType.F32, 2)),
        "direct");
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> Tensor.wrap(Device.cpu(), buffer.asReadOnlyBuffer(), DType.F32, 8)),
        "writable");
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> Tensor.wrap(Device.cpu(), buffer, DType.F32, 2, 3)),
        "32",
        "24",
        "[2, 3]");
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () ->
                Tensor.wrap(Device.cpu(), buffer.duplicate().position(2).limit(10), DType.F32, 2)),
        "multiple");
    // Sizes that would match by overflow or by two minus signs.
    for (long[] shape : new long[][] {{-2, -4}, {1L << 62, 4}, {1L << 32, 1L << 32}}) {
      assertThrows(
          IllegalArgumentException.class,
          () -> Tensor.wrap(Device.cpu(), buffer, DType.F32, shape));
    }
    assertThrows(
        IllegalArgumentException.class, () -> Tensor.wrap(Device.cpu(), buffer, DType.U16, 16));
    Tensor.wrap(Device.cpu(), direct(0), DType.F32, 0).close();
  }

  @Test
  void aWrappedBufferLivesAsLongAsTheTensorAndItsViews() throws InterruptedException {
    ByteBuffer buffer = direct(1 << 20);
    buffer.putFloat(0, 42);
    WeakReference<ByteBuffer> reference = new WeakReference<>(buffer);
    Tensor tensor = Tensor.wrap(Device.cpu(), buffer, DType.F32, 1 << 18);
    buffer = null;
    Tensor view = tensor.view(0, 1);
    tensor.close();
    tensor = null;
    for (int i = 0; i < 5; i++) {
      System.gc();
      Thread.sleep(5);
    }
    assertNotEquals(null, reference.get());
    assertArrayEquals(new float[] {42}, view.toFloats());
    view.close();
  }

  @Test
  void mapsAPartOfAFile() throws Exception {
    double[] values = new double[3000];
    for (int i = 0; i < values.length; i++) {
      values[i] = i;
    }
    Path file = Files.write(folder.resolve("a"), Numbers.encode(DType.F32, values));
    // Offsets on and off the border of a page, and the very end.
    for (int first : new int[] {0, 1, 1023, 1024, 2500, 2999, 3000}) {
      int count = Math.min(500, 3000 - first);
      try (Tensor tensor = Tensor.map(Device.cpu(), file, 4L * first, DType.F32, count)) {
        double[] expected = java.util.Arrays.copyOfRange(values, first, first + count);
        assertArrayEquals(expected, Numbers.values(tensor));
      }
    }
    try (Tensor tensor = Tensor.map(Device.cpu(), file, 0, DType.F32, 2, 1500);
        Tensor row = tensor.slice(1, 2)) {
      Files.delete(file); // the mapping stays
      assertEquals(1500, row.toFloats()[0]);
    }
  }

  @Test
  void mappedFilesAreReadOnly() throws Exception {
    byte[] content = Numbers.encode(DType.F32, 1, 2, 3, 4);
    Path file = Files.write(folder.resolve("a"), content);
    try (Tensor tensor = Tensor.map(Device.cpu(), file, 0, DType.F32, 4);
        Tensor view = tensor.view(1, 2);
        Tensor other = Tensor.of(new float[4], 4)) {
      for (Tensor readOnly : List.of(tensor, view)) {
        assertMessage(
            assertThrows(
                IllegalArgumentException.class, () -> readOnly.copyFrom(0, ByteBuffer.allocate(4))),
            "read-only");
        readOnly.withBuffer(
            0,
            4,
            buffer -> {
              assertEquals(ByteOrder.LITTLE_ENDIAN, buffer.order());
              assertThrows(ReadOnlyBufferException.class, () -> buffer.putFloat(0, 9));
            });
        assertMessage(
            assertThrows(
                IllegalArgumentException.class, () -> Ops.pruneThreshold(readOnly, 1, readOnly)),
            "read-only");
      }
      assertEquals(2, Ops.pruneThreshold(tensor, 2, other));
      assertArrayEquals(content, Files.readAllBytes(file));
    }
  }

  @Test
  void filesThatCannotBeMapped() throws Exception {
    Path file = Files.write(folder.resolve("a b"), new byte[10]);
    Path missing = folder.resolve("missing");
    UncheckedIOException e =
        assertThrows(
            UncheckedIOException.class, () -> Tensor.map(Device.cpu(), missing, 0, DType.U8, 1));
    assertMessage(e, missing.toString(), "does not exist");
    assertEquals(e.getMessage(), e.getCause().getMessage());
    assertMessage(
        assertThrows(
            UncheckedIOException.class, () -> Tensor.map(Device.cpu(), folder, 0, DType.U8, 1)),
        folder.toString());
    for (long[] c : new long[][] {{8, 3}, {0, 11}, {10, 1}, {Long.MAX_VALUE, 1}, {11, 0}}) {
      assertMessage(
          assertThrows(
              UncheckedIOException.class,
              () -> Tensor.map(Device.cpu(), file, c[0], DType.U8, c[1])),
          file.toString(),
          "10 bytes");
    }
    assertMessage(
        assertThrows(
            IllegalArgumentException.class, () -> Tensor.map(Device.cpu(), file, 2, DType.F32, 1)),
        "multiple");
    assertThrows(
        IllegalArgumentException.class, () -> Tensor.map(Device.cpu(), file, -4, DType.F32, 1));
    Tensor.map(Device.cpu(), file, 8, DType.F32, 0).close();
  }

  @Test
  void aPipeIsRefusedAndDoesNotBlock() throws Exception {
    Path pipe = folder.resolve("pipe");
    assumeTrue(
        new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor() == 0, "needs mkfifo");
    assertTimeoutPreemptively(
        Duration.ofSeconds(10),
        () ->
            assertMessage(
                assertThrows(
                    UncheckedIOException.class,
                    () -> Tensor.map(Device.cpu(), pipe, 0, DType.U8, 0)),
                pipe.toString(),
                "regular file"));
  }

  /** Maps a file and prints its first byte, or what is wrong. */
  static final class MapFile {
    public static void main(String[] arguments) {
      Path file = Path.of(arguments[0]).resolve("Gewicht\u00e4-\u91cd\u307f");
      try (Tensor tensor = Tensor.map(Device.cpu(), file, 0, DType.U8, 1)) {
        System.out.println("read " + tensor.toBytes()[0]);
      }
    }
  }

  @Test
  void namesBeyondAscii() throws Exception {
    assumeTrue(
        NativeLibrary.FILE_NAMES.newEncoder().canEncode("\u00e4\u91cd"),
        "skipped: the locale's file names are " + NativeLibrary.FILE_NAMES);
    Files.write(folder.resolve("Gewicht\u00e4-\u91cd\u307f"), new byte[] {77});
    // The default charset is not what names of files are encoded in.
    for (String charset : new String[] {"UTF-8", "ISO-8859-1"}) {
      ChildJvm.Result result =
          ChildJvm.run(MapFile.class, List.of("-Dfile.encoding=" + charset), folder.toString());
      assertEquals("read 77\n", result.output(), charset);
    }
  }

  /** Every way to get a tensor, in a process that takes more than four times its heap. */
  static final class Large {
    public static void main(String[] arguments) throws Exception {
      Path file = Path.of(arguments[0]);
      try (Tensor large =
          Tensor.allocate(Device.cpu(), DType.U8, 5 * Runtime.getRuntime().maxMemory())) {
        ByteBuffer ones = ByteBuffer.allocate(1 << 20);
        for (long at = 0; at + ones.capacity() <= large.byteSize(); at += ones.capacity()) {
          large.copyFrom(at, ones.clear());
        }
        try (Tensor mapped = Tensor.map(Device.cpu(), file, 0, DType.F32, 4);
            Tensor small = Tensor.of(new float[] {1, 2, 3, 4}, 4);
            Tensor view = small.slice(1, 3);
            Tensor wrapped =
                Tensor.wrap(Device.cpu(), ByteBuffer.allocateDirect(16), DType.F32, 4)) {
          Ops.convert(mapped, wrapped);
          System.out.println(view.toFloats()[0] + wrapped.toFloats()[1]);
        }
      }
    }
  }

  @Test
  void memoryBeyondWhatJavaCppAllows() throws Exception {
    Path file = folder.resolve("large.bin");
    Files.write(file, new byte[16]);
    ChildJvm.Result result = ChildJvm.run(Large.class, List.of(), file.toString());
    assertEquals(0, result.exit(), result.output());
    assertTrue(result.output().contains("2.0"), result.output());
  }
}
