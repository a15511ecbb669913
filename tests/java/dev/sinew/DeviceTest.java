package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class DeviceTest {
  @Test
  void theSharedDeviceHasAllProcessorsAndCannotBeClosed() {
    assertSame(Device.cpu(), Device.cpu());
    assertTrue(Device.best() == Device.cpu() || Device.best().isGpu());
    assertEquals(Device.availableProcessors(), Device.cpu().threads());
    assertTrue(Device.availableProcessors() >= 1);
    IllegalStateException e = assertThrows(IllegalStateException.class, () -> Device.cpu().close());
    assertTrue(e.getMessage().contains("shared"), e.getMessage());
    Tensor.allocate(Device.cpu(), DType.F32, 1).close();
  }

  @Test
  void threadsAreWhatWasAskedFor() {
    for (int threads : new int[] {1, 2, 3, 17}) {
      try (Device device = Device.cpu(threads)) {
        assertEquals(threads, device.threads());
        assertTrue(device.toString().contains(threads == 1 ? "1 thread)" : threads + " threads"));
        assertTrue(device.toString().contains(Device.isa()));
      }
    }
    for (int threads : new int[] {0, -1, 4097, Integer.MIN_VALUE}) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> Device.cpu(threads));
      assertTrue(e.getMessage().contains(Integer.toString(threads)), e.getMessage());
    }
  }

  @Test
  void theInstructionSetHasAReason() {
    assertTrue(List.of("scalar", "avx2", "avx512", "vnni", "amx").contains(Device.isa()));
    assertTrue(Device.isaReason().length() > 10);
  }

  @Test
  void aClosedDeviceComputesNoMoreButItsTensorsKeepTheirMemory() {
    Device device = Device.cpu(2);
    Tensor tensor = Numbers.tensor(device, DType.F32, new double[] {1, 2}, 2);
    device.close();
    device.close();
    assertArrayEquals(new float[] {1, 2}, tensor.toFloats());
    for (Runnable use :
        List.<Runnable>of(
            () -> Ops.pruneThreshold(tensor, 0, tensor),
            () -> tensor.view(0, 1),
            () -> Tensor.allocate(device, DType.F32, 1))) {
      IllegalStateException e = assertThrows(IllegalStateException.class, use::run);
      assertTrue(e.getMessage().contains("device is closed"), e.getMessage());
    }
    tensor.close();
  }

  @Test
  void tensorsOfSeveralCpuDevicesMeet() {
    try (Device one = Device.cpu(1);
        Device two = Device.cpu(2);
        Tensor x = Numbers.tensor(one, DType.F32, new double[] {1, -5}, 2);
        Tensor y = Tensor.allocate(two, DType.F32, 2)) {
      assertEquals(1, Ops.pruneThreshold(x, 1, y));
      assertArrayEquals(new float[] {0, -5}, y.toFloats());
    }
  }
}
