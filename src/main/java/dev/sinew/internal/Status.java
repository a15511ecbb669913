package dev.sinew.internal;

import dev.sinew.DeviceLostException;
import dev.sinew.NotFiniteException;
import java.io.IOException;
import java.io.UncheckedIOException;

/** Turns the status of a native call into the exception that callers expect. */
public final class Status {
  private Status() {}

  /** Throws unless {@code status} is SN_OK. Must run on the thread that made the call. */
  public static void check(int status) {
    if (status == SinewNative.SN_OK) {
      return;
    }
    String message = lastError();
    switch (status) {
      case SinewNative.SN_INVALID_ARGUMENT -> throw new IllegalArgumentException(message);
      case SinewNative.SN_OUT_OF_MEMORY -> throw new OutOfMemoryError(message);
      case SinewNative.SN_NOT_FINITE -> throw new NotFiniteException(message);
      case SinewNative.SN_UNSUPPORTED -> throw new UnsupportedOperationException(message);
      case SinewNative.SN_IO_ERROR ->
          throw new UncheckedIOException(message, new IOException(message));
      case SinewNative.SN_DEVICE_LOST -> throw new DeviceLostException(message);
      default -> throw new IllegalStateException(message);
    }
  }

  /** What went wrong in this thread's last call. */
  public static String lastError() {
    return SinewNative.sn_last_error().getString(NativeLibrary.FILE_NAMES);
  }
}
