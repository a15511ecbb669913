package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

/** The backstop for what is never closed. */
class HandleTest {
  /** Catches warnings, and fails as a broken log handler would. */
  private static final class Recorder extends java.util.logging.Handler {
    final CopyOnWriteArrayList<LogRecord> records = new CopyOnWriteArrayList<>();

    @Override
    public void publish(LogRecord record) {
      records.add(record);
      throw new IllegalStateException("a log handler that fails");
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }

  private static void leakOneTensorAndAViewAndADevice() {
    Device device = Device.cpu(1);
    Tensor tensor = Tensor.allocate(device, DType.F32, 1 << 20);
    tensor.view(5, 5);
  }

  @Test
  @LeakCheck.LeaksOnPurpose
  void theCleanerFreesCountsAndWarns() throws InterruptedException {
    Logger logger = Logger.getLogger("dev.sinew");
    Recorder recorder = new Recorder();
    logger.setUseParentHandlers(false);
    logger.addHandler(recorder);
    try {
      long leaked = Handle.leaked();
      long live = Handle.live();
      long tensors = SinewNative.sn_live_tensors();
      leakOneTensorAndAViewAndADevice();
      for (int i = 0; i < 500 && recorder.records.size() < 3; i++) {
        System.gc();
        Thread.sleep(10);
      }
      assertEquals(leaked + 3, Handle.leaked());
      assertEquals(live, Handle.live());
      assertEquals(tensors, SinewNative.sn_live_tensors());
      assertEquals(3, recorder.records.size());
      for (LogRecord record : recorder.records) {
        assertEquals(Level.WARNING, record.getLevel());
        assertTrue(record.getMessage().contains("never closed"), record.getMessage());
      }
    } finally {
      logger.removeHandler(recorder);
      logger.setUseParentHandlers(true);
    }
  }

  @Test
  void whatIsClosedIsNotCountedAsLeaked() throws InterruptedException {
    long leaked = Handle.leaked();
    for (int i = 0; i < 20_000; i++) {
      Tensor.allocate(Device.cpu(), DType.U8, 1).close();
    }
    System.gc();
    Thread.sleep(20);
    assertEquals(leaked, Handle.leaked());
  }
}
