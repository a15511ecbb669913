package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class DTypeTest {
  private static final Set<DType> STORAGE_ONLY =
      EnumSet.range(DType.U16, DType.values()[DType.values().length - 1]);

  @ParameterizedTest
  @CsvSource({
    "F64,10,80",
    "F32,10,40",
    "F16,10,20",
    "BF16,10,20",
    "I64,3,24",
    "I32,3,12",
    "I16,3,6",
    "I8,3,3",
    "U8,3,3",
    "BOOL,3,3",
    "C64,2,16",
    "U16,2,4",
    "U32,2,8",
    "U64,2,16",
    "F8_E4M3,7,7",
    "F8_E5M2,7,7",
    "F8_E8M0,7,7",
    "F6_E2M3,4,3",
    "F6_E3M2,8,6",
    "F4,6,3",
    "F4,0,0"
  })
  void bytesOfElements(DType dtype, long elements, long bytes) {
    assertEquals(bytes, dtype.bytes(elements));
  }

  @Test
  void sizesThatAreNoLong() {
    assertThrows(ArithmeticException.class, () -> DType.F64.bytes(1L << 60));
    assertThrows(ArithmeticException.class, () -> DType.F4.bytes(Long.MAX_VALUE / 2));
    assertThrows(ArithmeticException.class, () -> DType.F4.bytes(3));
    assertThrows(ArithmeticException.class, () -> DType.F6_E2M3.bytes(3));
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void onlyComputableTypesMakeTensors(DType dtype) {
    assertEquals(!STORAGE_ONLY.contains(dtype), dtype.isComputable());
    if (dtype.isComputable()) {
      try (Tensor tensor = Tensor.allocate(Device.cpu(), dtype, 3, 5)) {
        assertEquals(15 * dtype.bits() / 8, tensor.byteSize());
        assertEquals(15 * dtype.bits() / 8, tensor.toBytes().length);
      }
    } else {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class, () -> Tensor.allocate(Device.cpu(), dtype, 3));
      assertTrue(e.getMessage().contains(dtype.name()), e.getMessage());
    }
  }

  @Test
  void floatingTypesAreThoseThatPassesTake() {
    for (DType dtype : DType.values()) {
      boolean floating = EnumSet.of(DType.F64, DType.F32, DType.F16, DType.BF16).contains(dtype);
      assertEquals(floating, dtype.isFloating(), dtype.name());
    }
  }
}
