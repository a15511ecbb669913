package dev.sinew.internal;

import dev.sinew.Device;

/** As {@link TensorAccess}, for devices. */
public abstract class DeviceAccess {
  private static volatile DeviceAccess access;

  /** Called by the initializer of {@link Device}, so whoever has a device has access. */
  public static void provide(DeviceAccess provided) {
    access = provided;
  }

  public static DeviceAccess get() {
    return access;
  }

  /**
   * Keeps the device open until {@link #release}.
   *
   * @throws IllegalStateException if it is closed
   */
  public abstract sn_device acquire(Device device);

  public abstract void release(Device device);

  /** Which GPU it is; -1 for the CPU. */
  public abstract int gpu(Device device);
}
