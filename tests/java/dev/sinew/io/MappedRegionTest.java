package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What {@link Checkpoint#region} says about it, {@link Tensor#map} can take or refuses. */
class MappedRegionTest {
  private static final double[] VALUES = {Math.PI, -0.0};

  @TempDir Path folder;

  /** A file with tensor {@code d}, F64 [2], whose data begins this far behind a multiple of 8. */
  private Path file(int misalignment) throws IOException {
    String header = "{\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}}";
    header += " ".repeat((8 - header.length() % 8) % 8 + misalignment);
    ByteBuffer data = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
    data.asDoubleBuffer().put(VALUES);
    return SafeTensorsFiles.write(folder, SafeTensorsFiles.bytes(header, data.array()));
  }

  private static Tensor map(Checkpoint.FileRegion region) {
    return Tensor.map(Device.cpu(), region.file(), region.offset(), DType.F64, 2);
  }

  private static double[] doubles(Tensor tensor) {
    double[] values = new double[2];
    tensor.withBuffer(0, 16, buffer -> buffer.asDoubleBuffer().get(values));
    return values;
  }

  @Test
  void anAlignedTensorIsMapped() throws IOException {
    try (Checkpoint checkpoint = SafeTensors.open(file(0));
        Tensor mapped = map(checkpoint.region("d").orElseThrow())) {
      assertArrayEquals(VALUES, doubles(mapped));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 7})
  void aMisalignedTensorIsReadAndNotMapped(int misalignment) throws IOException {
    Path file = file(misalignment);
    try (Checkpoint checkpoint = SafeTensors.open(file)) {
      Checkpoint.FileRegion region = checkpoint.region("d").orElseThrow();
      assertEquals(misalignment, region.offset() % 8);
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> map(region).close());
      assertEquals(
          "offset " + region.offset() + " of '" + file + "' is not a multiple of the size of F64",
          e.getMessage());
      try (Tensor read = Tensor.allocate(Device.cpu(), DType.F64, 2)) {
        read.withBuffer(0, 16, buffer -> checkpoint.read("d", 0, buffer));
        assertArrayEquals(VALUES, doubles(read));
      }
    }
  }
}
