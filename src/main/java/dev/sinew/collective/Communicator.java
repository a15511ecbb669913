package dev.sinew.collective;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.internal.DeviceAccess;
import dev.sinew.internal.Mpi;
import dev.sinew.internal.NativeLibrary;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.Status;
import dev.sinew.internal.sn_communicator;
import dev.sinew.internal.sn_device;
import java.lang.ref.Reference;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * One rank's end of a group of ranks that reduce and exchange tensors, in NCCL's vocabulary.
 *
 * <pre>{@code
 * List<Communicator> group = Communicator.threads(2);
 * // on the thread of rank r:
 * try (Communicator c = group.get(r)) {
 *   c.allReduce(gradient, ReduceOp.AVERAGE, gradient);
 * }
 * }</pre>
 *
 * <p>All ranks make the same calls in the same order, with tensors of one dtype ({@link DType#F32},
 * F16, BF16, I32 or I8) and size; shapes may differ. A call returns when the result is complete and
 * the input may be changed. Every rank gets the same bits, and the same from run to run with the
 * same number of ranks; docs/numerics.md has the rules, docs/collectives.md the rest.
 *
 * <p>A rank that ends, does not call within the timeout, closes its communicator or asks for
 * something else ends the call on every other rank with {@link RankFailedException}; outputs are
 * then unspecified and tensors may be closed, and every further call fails the same way. A wrong
 * argument that a rank can see alone is {@link IllegalArgumentException} and no call at all, so the
 * rank may still make the right one.
 *
 * <p>A communicator serves one call at a time, from any platform thread. A virtual thread is
 * refused: while it waits it would hold the carrier that another rank may need. An interrupt
 * neither ends a call nor gets lost.
 */
public abstract sealed class Communicator implements AutoCloseable
    permits NativeCommunicator, NcclCommunicator, GpusCommunicator {
  /** How long a rank waits for the others unless told otherwise. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(30);

  /** The most ranks of a group. */
  public static final int MAX_SIZE = SinewNative.SN_MAX_WORLD_SIZE;

  // Thread.isVirtual, which came with Java 21.
  private static final Method IS_VIRTUAL = isVirtualMethod();

  private final int rank;
  private final int size;
  private final AtomicBoolean calling = new AtomicBoolean();

  Communicator(int rank, int size) {
    this.rank = rank;
    this.size = size;
  }

  /** As {@link #threads(int, Duration)} with {@link #DEFAULT_TIMEOUT}. */
  public static List<Communicator> threads(int size) {
    return threads(size, DEFAULT_TIMEOUT);
  }

  /**
   * The communicators of a new group whose ranks are threads of this JVM, in the order of the
   * ranks. They read and write each other's tensors where they lie, so no rank's output may overlap
   * another rank's tensor.
   *
   * @param size how many ranks, 1 to {@link #MAX_SIZE}
   * @param timeout how long a rank waits for the others, at least a millisecond
   */
  public static List<Communicator> threads(int size, Duration timeout) {
    NativeLibrary.load();
    return group(
        size, result -> SinewNative.sn_communicator_threads(size, milliseconds(timeout), result));
  }

  /** As {@link #gpus(List, Duration)} with {@link #DEFAULT_TIMEOUT}. */
  public static List<Communicator> gpus(List<Device> devices) {
    return gpus(devices, DEFAULT_TIMEOUT);
  }

  /**
   * The communicators of a new group whose ranks are threads of this JVM and whose tensors are on
   * GPUs of this host, which reach each other's memory: those of rank r on {@code devices.get(r)}.
   * Several ranks may have one GPU. {@link #allReduceCompressed} is {@link
   * UnsupportedOperationException}. Calls return when the result is complete.
   *
   * @param devices at most 16
   * @param timeout how long a rank waits for the others, at least a millisecond
   * @throws UnsupportedOperationException if a device is not a GPU, or one cannot reach another's
   *     memory
   */
  public static List<Communicator> gpus(List<Device> devices, Duration timeout) {
    NativeLibrary.load();
    ByteBuffer buffer =
        ByteBuffer.allocateDirect(8 * (1 + devices.size())).order(ByteOrder.nativeOrder());
    int acquired = 0;
    try {
      for (; acquired < devices.size(); acquired++) {
        buffer.putLong(8 * acquired, DeviceAccess.get().acquire(devices.get(acquired)).address());
      }
      PointerPointer<sn_device> pointers = new PointerPointer<>(new BytePointer(buffer));
      return group(
          devices.size(),
          result ->
              SinewNative.sn_communicator_gpus(
                  pointers, devices.size(), milliseconds(timeout), result));
    } finally {
      while (acquired > 0) {
        DeviceAccess.get().release(devices.get(--acquired));
      }
      Reference.reachabilityFence(buffer);
    }
  }

  /**
   * As {@link #gpus(List, Duration)}, but messages of at least so many bytes go by way of NVIDIA's
   * NCCL, which {@link #nccl(Duration)} describes: their results are values, not bits, and may
   * differ in the last ones from those of smaller messages. A message's bytes are those of {@code
   * x}, of an all-gather those of {@code out}. Ranks agree on each message before NCCL begins, so
   * that those that are late or disagree are named. {@link #allReduceRmsNorm} stays with Sinew's
   * kernels. Has never run on a GPU.
   *
   * @param devices all different, as NCCL has one rank on a GPU
   * @param ncclFrom at least 0; there is no right number for all machines, so measure
   * @throws UnsupportedOperationException also if NCCL cannot be used
   */
  public static List<Communicator> gpus(List<Device> devices, Duration timeout, long ncclFrom) {
    if (ncclFrom < 0) {
      throw new IllegalArgumentException("messages cannot have " + ncclFrom + " bytes");
    }
    if (Set.copyOf(devices).size() < devices.size()) {
      throw new UnsupportedOperationException(
          "NCCL has one rank on a GPU, and several are on one here; leave out from how many bytes"
              + " on to use it");
    }
    List<Communicator> own = gpus(devices, timeout);
    try {
      NcclLibrary.load();
      List<Agreement> agreements =
          own.stream().map(c -> (Agreement) ((NativeCommunicator) c)::agree).toList();
      List<NcclCommunicator> nccl = NcclCommunicator.openAll(devices, timeout, agreements);
      List<Communicator> group = new ArrayList<>();
      for (int r = 0; r < nccl.size(); r++) {
        group.add(new GpusCommunicator((NativeCommunicator) own.get(r), nccl.get(r), ncclFrom));
      }
      return List.copyOf(group);
    } catch (RuntimeException | Error e) {
      own.forEach(Communicator::close);
      throw e;
    }
  }

  private static List<Communicator> group(int size, Opening opening) {
    // In a buffer, not in memory that JavaCPP allocates, which it refuses to do once the process
    // takes four times the heap.
    ByteBuffer buffer = ByteBuffer.allocateDirect(8 * MAX_SIZE).order(ByteOrder.nativeOrder());
    PointerPointer<sn_communicator> pointers = new PointerPointer<>(new BytePointer(buffer));
    Status.check(opening.run(pointers));
    List<Communicator> group = new ArrayList<>(size);
    for (int r = 0; r < size; r++) {
      group.add(new NativeCommunicator(pointers.get(sn_communicator.class, r)));
    }
    Reference.reachabilityFence(buffer);
    return List.copyOf(group);
  }

  /** As {@link #processes(String, int, int, Duration)} with {@link #DEFAULT_TIMEOUT}. */
  public static Communicator processes(String name, int rank, int size) {
    return processes(name, rank, size, DEFAULT_TIMEOUT);
  }

  /**
   * The communicator of one rank of a group whose ranks are processes of this host and of one user.
   * Waits until all ranks have called it with the same name and size.
   *
   * @param name 1 to 80 bytes of UTF-8 without zeros, which no other group has that forms at the
   *     same time: something random or unique that whoever starts the processes gives to all of
   *     them. It is not a file, and nothing is left of it afterwards.
   * @param rank which rank this process is, 0 to size - 1
   * @param size how many ranks, 1 to {@link #MAX_SIZE}
   * @param timeout how long to wait for the other ranks, here and in every call, at least a
   *     millisecond
   * @throws RankFailedException if a rank is missing, is there twice or takes the group for one of
   *     another size
   */
  public static Communicator processes(String name, int rank, int size, Duration timeout) {
    requirePlatformThread();
    if (name.indexOf(0) >= 0) {
      throw new IllegalArgumentException("the name of a group contains a zero character");
    }
    NativeLibrary.load();
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    // With the zero byte that ends a C string.
    ByteBuffer string = ByteBuffer.allocateDirect(bytes.length + 1).put(bytes).rewind();
    try {
      return opened(
          result ->
              SinewNative.sn_communicator_processes(
                  new BytePointer(string), rank, size, milliseconds(timeout), result));
    } finally {
      Reference.reachabilityFence(string);
    }
  }

  /** As {@link #mpi(Duration)} with {@link #DEFAULT_TIMEOUT}. */
  public static Communicator mpi() {
    return mpi(DEFAULT_TIMEOUT);
  }

  /**
   * This process's rank among those that MPI has started together (with {@code mpirun}), on one
   * host or many. All of them have to call this; it waits for the others without a deadline, as MPI
   * does. MPI moves bytes only, so results are those of other groups, bit for bit. Of a rank that
   * fails while tensors are moved {@link RankFailedException#rank} may be -1.
   *
   * @param timeout how long a rank waits for the others in a call, at least a millisecond
   * @throws UnsupportedOperationException if libsinew_mpi.so or MPI is not there;
   *     docs/collectives.md says how to build it
   */
  public static Communicator mpi(Duration timeout) {
    requirePlatformThread();
    ByteBuffer library = Mpi.library();
    try {
      return opened(
          result ->
              SinewNative.sn_communicator_mpi(Mpi.pointer(library), milliseconds(timeout), result));
    } finally {
      Reference.reachabilityFence(library);
    }
  }

  /** As {@link #nccl(Duration)} with {@link #DEFAULT_TIMEOUT}. */
  public static Communicator nccl() {
    return nccl(DEFAULT_TIMEOUT);
  }

  /**
   * This process's rank among those that a launcher such as torchrun has started, with tensors on
   * GPU LOCAL_RANK, by way of NVIDIA's NCCL, which JavaCPP's preset of CUDA ({@code
   * org.bytedeco:cuda}) binds; it and libnccl.so.2 have to be there. The environment variables
   * RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT say who meets where. NCCL promises
   * values, not bits. {@link #allReduceCompressed} and {@link #allReduceRmsNorm} are {@link
   * UnsupportedOperationException}. NCCL does not compare what ranks ask for: if they disagree,
   * calls end at the timeout, and {@link RankFailedException#rank} is -1. With the system property
   * {@code sinew.nccl.check} set to true on rank 0, they are compared before each call, over the
   * network, which takes a round trip to rank 0. Has never run on a GPU.
   *
   * @param timeout how long to wait for the other ranks, here and in every call; at least a
   *     millisecond
   * @throws IllegalStateException if a variable is missing or wrong
   * @throws UnsupportedOperationException if no GPU or no NCCL can be used
   * @throws RankFailedException if the ranks do not meet
   */
  public static Communicator nccl(Duration timeout) {
    return nccl(System.getenv(), timeout);
  }

  static Communicator nccl(Map<String, String> environment, Duration timeout) {
    requirePlatformThread();
    if (timeout.compareTo(Duration.ofMillis(1)) < 0) {
      throw new IllegalArgumentException("a timeout of " + timeout + " is not at least 1 ms");
    }
    TcpBootstrap ranks = TcpBootstrap.of(environment);
    Device gpu = Device.cuda(ranks.localRank());
    NcclLibrary.load();
    return NcclCommunicator.open(ranks, gpu, timeout);
  }

  /**
   * What reduces between GPUs of many hosts ({@link #nccl(Duration)}, and {@link #gpus(List,
   * Duration, long)} on one): NCCL with its version and place, or that only Sinew's own kernels do,
   * on one host, why, and what to add. NCCL is loaded by this, unless it would have to be extracted
   * from JavaCPP's redistributable.
   */
  public static String ncclLibrary() {
    return NcclLibrary.description();
  }

  private interface Opening {
    int run(PointerPointer<sn_communicator> result);
  }

  private static Communicator opened(Opening opening) {
    ByteBuffer memory = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
    PointerPointer<sn_communicator> pointer = new PointerPointer<>(new BytePointer(memory));
    int status = opening.run(pointer);
    if (status == SinewNative.SN_RANK_FAILED) {
      throw new RankFailedException(-1, Status.lastError());
    }
    Status.check(status);
    Communicator communicator = new NativeCommunicator(pointer.get(sn_communicator.class, 0));
    Reference.reachabilityFence(memory);
    return communicator;
  }

  private static long milliseconds(Duration timeout) {
    try {
      return timeout.toMillis();
    } catch (ArithmeticException e) {
      return timeout.isNegative() ? Long.MIN_VALUE : Long.MAX_VALUE;
    }
  }

  /** This rank, from 0 to {@link #size()} - 1. */
  public int rank() {
    return rank;
  }

  /** How many ranks the group has. */
  public int size() {
    return size;
  }

  /**
   * {@code out} = the reduction of all ranks' {@code x}. In place allowed.
   *
   * @param out of x's dtype and number of elements
   */
  public abstract void allReduce(Tensor x, ReduceOp op, Tensor out);

  /**
   * As {@link #allReduce}, but ranks exchange a quarter of the bytes of F32: for gradients. Every
   * 256 elements become int8 with one scale, the sum of all ranks does so once more, and every rank
   * expands that: two roundings, each of at most half a step of the group's largest magnitude over
   * 127, whatever the number of ranks. A group with NaN or infinity in any rank becomes NaN.
   *
   * @param x F32, F16 or BF16
   * @param op {@link ReduceOp#SUM} or {@link ReduceOp#AVERAGE}
   * @throws UnsupportedOperationException if the ranks are GPUs; {@link #allReduce} is for them
   */
  public abstract void allReduceCompressed(Tensor x, ReduceOp op, Tensor out);

  /**
   * {@code sum} = residual + the sum of all ranks' x, and {@code y} = sum / sqrt(mean of sum<sup>2
   * </sup> + eps) weight along the last dimension, in one kernel: the bits of {@link #allReduce},
   * {@link dev.sinew.Functional#add} and {@link dev.sinew.Functional#rmsNorm} in turn. For groups
   * of GPUs.
   *
   * @param x F32, F16 or BF16; a row has at most 256 KiB
   * @param weight F32, or null for 1
   * @param sum like x; may be x or residual
   * @param y like x, and neither of the others
   * @throws UnsupportedOperationException if the ranks are not GPUs of one host; call the three in
   *     turn
   */
  public abstract void allReduceRmsNorm(
      Tensor x, Tensor residual, Tensor weight, double eps, Tensor sum, Tensor y);

  /**
   * Part r of {@code x}, of {@link #size()} equal parts in index order, is reduced over all ranks
   * into {@code out} of rank r. In place: out may be this rank's part of x, a {@link Tensor#view}.
   */
  public abstract void reduceScatter(Tensor x, ReduceOp op, Tensor out);

  /**
   * Part r of {@code out}, of {@link #size()} equal parts in index order, is {@code x} of rank r.
   * In place: x may be this rank's part of out, a {@link Tensor#view}.
   */
  public abstract void allGather(Tensor x, Tensor out);

  /** {@code x} of every rank becomes that of rank {@code root}. */
  public abstract void broadcast(Tensor x, int root);

  /** Returns when every rank has called it. */
  public abstract void barrier();

  /**
   * Tells the other ranks that this one has left: what they call from now on fails. Idempotent.
   *
   * @throws IllegalStateException if a call is running
   */
  @Override
  public abstract void close();

  @Override
  public String toString() {
    return "rank " + rank + " of " + size;
  }

  /** Runs a call while no other is running. */
  void alone(Runnable call) {
    requirePlatformThread();
    if (!calling.compareAndSet(false, true)) {
      throw new IllegalStateException(
          "the communicator of rank "
              + rank
              + " is in use by another call; every rank needs a thread of its own");
    }
    try {
      call.run();
    } finally {
      calling.set(false);
    }
  }

  private static Method isVirtualMethod() {
    try {
      return Thread.class.getMethod("isVirtual");
    } catch (NoSuchMethodException e) {
      return null;
    }
  }

  private static void requirePlatformThread() {
    try {
      if (IS_VIRTUAL != null && (boolean) IS_VIRTUAL.invoke(Thread.currentThread())) {
        throw new IllegalStateException(
            "a rank cannot be a virtual thread, which would hold its carrier while it waits for"
                + " other ranks; give it a platform thread");
      }
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }
}
