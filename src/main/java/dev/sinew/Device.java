package dev.sinew;

import dev.sinew.internal.Blas;
import dev.sinew.internal.Cuda;
import dev.sinew.internal.DeviceAccess;
import dev.sinew.internal.GpuLibrary;
import dev.sinew.internal.Handle;
import dev.sinew.internal.NativeLibrary;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.Status;
import dev.sinew.internal.sn_device;
import java.lang.ref.Reference;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;

/**
 * Where tensors live and operations run: the CPU, with a pool of threads of its own, or a GPU, with
 * memory of its own.
 *
 * <p>Asking for a GPU that cannot be used is an error, never a fall back to the CPU. On a GPU calls
 * take effect in the order they were made in; those that give no number return before they are
 * done, so an error may show in a later call. An operation that has no kernel for GPUs yet throws
 * {@link UnsupportedOperationException}.
 *
 * <p>Safe for use by many threads: of several calls at once one uses the pool and the others
 * compute on their own thread, so a server with many request threads never queues. Close a device
 * after its tensors; tensors that outlive it only free their memory.
 */
public final class Device implements AutoCloseable {
  static {
    DeviceAccess.provide(
        new DeviceAccess() {
          @Override
          public sn_device acquire(Device device) {
            return device.acquire();
          }

          @Override
          public void release(Device device) {
            device.release();
          }

          @Override
          public int gpu(Device device) {
            return device.gpu;
          }
        });
  }

  private final Handle<sn_device> handle;
  private final int threads;
  private final boolean shared;
  private final int gpu; // -1 for the CPU

  private Device(int threads, boolean shared) {
    NativeLibrary.load();
    sn_device device = new sn_device();
    Status.check(SinewNative.sn_cpu_open(threads, device));
    this.threads = SinewNative.sn_device_threads(device);
    this.handle = new Handle<>(this, "device", device, SinewNative::sn_device_close);
    this.shared = shared;
    this.gpu = -1;
  }

  private Device(int gpu) {
    Cuda.load();
    sn_device device = new sn_device();
    Status.check(SinewNative.sn_cuda_open(gpu, device));
    this.threads = SinewNative.sn_device_threads(device);
    this.handle = new Handle<>(this, "device", device, SinewNative::sn_device_close);
    this.shared = true;
    this.gpu = gpu;
  }

  /**
   * The CPU with one thread for each processor this process may use. One shared device, which
   * cannot be closed.
   */
  public static Device cpu() {
    // Here, because a failure inside the holder's initializer would be told only once.
    NativeLibrary.load();
    return Shared.CPU;
  }

  /**
   * A new CPU device.
   *
   * @param threads how many threads compute, the caller's included; 1 never leaves the caller's
   *     thread; at most 4096
   * @throws IllegalArgumentException if {@code threads} is not within 1..4096
   */
  public static Device cpu(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("a device needs at least 1 thread, not " + threads);
    }
    return new Device(threads, false);
  }

  /**
   * A GPU by its number, from 0 on. One shared device for each, which cannot be closed.
   *
   * @throws UnsupportedOperationException if no GPU can be used here; the message says what is
   *     missing
   * @throws IllegalArgumentException if there are GPUs, but not this one
   */
  public static Device cuda(int index) {
    return Shared.GPUS.computeIfAbsent(index, Device::new);
  }

  /**
   * The first GPU, for programs that cannot do without one.
   *
   * @throws UnsupportedOperationException if no GPU can be used here; the message says what is
   *     missing
   */
  public static Device requireGpu() {
    return cuda(0);
  }

  /**
   * What GPUs there are, each in a few words.
   *
   * @throws UnsupportedOperationException if no GPU can be used here; the message says what is
   *     missing
   */
  public static List<String> gpus() {
    return IntStream.range(0, countGpus()).mapToObj(Device::describe).toList();
  }

  private static int countGpus() {
    Cuda.load();
    int[] count = new int[1];
    Status.check(SinewNative.sn_cuda_count(count));
    return count[0];
  }

  private static String describe(int gpu) {
    return SinewNative.sn_cuda_description(gpu).getString();
  }

  /** Whether this is a GPU, whose tensors are not in the host's memory. */
  public boolean isGpu() {
    return gpu >= 0;
  }

  /**
   * Waits until all calls made so far are done. Does nothing on the CPU, where calls return when
   * they are done.
   *
   * @throws DeviceLostException if the GPU has failed
   */
  public void synchronize() {
    sn_device device = acquire();
    try {
      Status.check(SinewNative.sn_device_synchronize(device));
    } finally {
      release();
      Reference.reachabilityFence(this);
    }
  }

  /**
   * The best device for computing: the first GPU that can be used, else {@link #cpu()}. It is
   * chosen once, when it is first asked for, and {@link #bestReason} says why. What keeps GPUs from
   * being used, such as a plug-in that is missing or broken, is no failure here.
   */
  public static Device best() {
    return choice().device;
  }

  /**
   * Why {@link #best()} was chosen, in a sentence: for the CPU, what keeps GPUs from being used.
   */
  public static String bestReason() {
    return choice().reason;
  }

  private static Choice choice() {
    // As in cpu().
    NativeLibrary.load();
    return Choice.BEST;
  }

  private record Choice(Device device, String reason) {
    static final Choice BEST = make();

    private static Choice make() {
      String problem = null;
      int count = 1; // until it is known
      for (int gpu = 0; gpu < count; gpu++) {
        try {
          count = countGpus();
          String reason = "it is the first GPU that can be used";
          return new Choice(cuda(gpu), problem == null ? reason : reason + ": " + problem);
        } catch (RuntimeException | OutOfMemoryError e) { // of the GPU's memory
          problem = problem == null ? e.getMessage() : problem;
        }
      }
      return new Choice(cpu(), problem);
    }
  }

  /** The number of threads that compute; 1 for a GPU. */
  public int threads() {
    return threads;
  }

  /** Processors this process may use: its affinity mask, limited by the cgroup's CPU quota. */
  public static int availableProcessors() {
    NativeLibrary.load();
    return SinewNative.sn_cpu_available();
  }

  /** The instruction-set tier in use: scalar, avx2, avx512, vnni or amx. */
  public static String isa() {
    NativeLibrary.load();
    return SinewNative.sn_cpu_isa().getString();
  }

  /** One sentence that says why {@link #isa()} was chosen. */
  public static String isaReason() {
    NativeLibrary.load();
    return SinewNative.sn_cpu_isa_reason().getString();
  }

  /**
   * What computes {@link Functional#matmul} of F32 matrices, and why: OpenBLAS with its version,
   * settings and place, or Sinew's own kernel. OpenBLAS is taken from the class path ({@code
   * org.bytedeco:openblas} with classifier {@code linux-x86_64}), else from the system; the system
   * property {@code sinew.openblas} names another library, or is {@code none}. It is opened at the
   * first such product, or here, and set to one thread for the whole process, as the device's
   * threads divide the work.
   */
  public static String blas() {
    return Blas.description();
  }

  /**
   * What computes large products of matrices on GPUs ({@link Functional#matmul}, and {@link
   * Functional#linear} of BF16): NVIDIA's cuBLASLt 13 with its version and place, or Sinew's own
   * kernels, why, and what to add. cuBLASLt is taken from the class path ({@code
   * org.bytedeco:cuda-redist-cublas} with classifier {@code linux-x86_64}; extracted by the first
   * such product, not by this), else from the system; the system property {@code sinew.cublaslt} or
   * the environment variable {@code SINEW_CUBLASLT} names another library, or is {@code none}.
   *
   * @throws UnsupportedOperationException if there is no plug-in for GPUs
   */
  public static String cublasLt() {
    return GpuLibrary.CUBLASLT.description();
  }

  /**
   * What may compute large convolutions of floats on GPUs ({@link Functional#conv2d} of packed F32
   * or BF16): NVIDIA's cuDNN 9 with its version and place, or Sinew's own kernels, why, and what to
   * add. Where it is found, the first convolution of a shape times both, and cuDNN is used if it is
   * clearly faster; bits may then depend on that. It is taken from the class path ({@code
   * org.bytedeco:cuda-redist-cudnn} with classifier {@code linux-x86_64}; extracted by the first
   * such convolution, not by this), else from the system; the system property {@code sinew.cudnn}
   * or the environment variable {@code SINEW_CUDNN} names another library, or is {@code none}.
   *
   * @throws UnsupportedOperationException if there is no plug-in for GPUs
   */
  public static String cudnn() {
    return GpuLibrary.CUDNN.description();
  }

  sn_device acquire() {
    return handle.acquire();
  }

  void release() {
    handle.release();
  }

  /**
   * Ends the device's threads. Idempotent.
   *
   * @throws IllegalStateException if a call is using it, or if it is the shared device
   */
  @Override
  public void close() {
    if (shared) {
      throw new IllegalStateException(
          "the shared device Device." + (isGpu() ? "cuda(" + gpu : "cpu(") + ") cannot be closed");
    }
    handle.close();
    Reference.reachabilityFence(this);
  }

  @Override
  public String toString() {
    if (isGpu()) {
      return "cuda:" + gpu + " (" + describe(gpu) + ")";
    }
    return "cpu (" + isa() + ", " + threads + (threads == 1 ? " thread)" : " threads)");
  }

  private static final class Shared {
    static final Device CPU = new Device(0, true);
    static final Map<Integer, Device> GPUS = new ConcurrentHashMap<>();
  }
}
