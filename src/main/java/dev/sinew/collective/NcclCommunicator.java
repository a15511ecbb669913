package dev.sinew.collective;

import static org.bytedeco.cuda.global.cudart.cudaErrorNotReady;
import static org.bytedeco.cuda.global.cudart.cudaGetDevice;
import static org.bytedeco.cuda.global.cudart.cudaGetErrorString;
import static org.bytedeco.cuda.global.cudart.cudaSetDevice;
import static org.bytedeco.cuda.global.cudart.cudaStreamCreateWithFlags;
import static org.bytedeco.cuda.global.cudart.cudaStreamDestroy;
import static org.bytedeco.cuda.global.cudart.cudaStreamNonBlocking;
import static org.bytedeco.cuda.global.cudart.cudaStreamQuery;
import static org.bytedeco.cuda.global.cudart.cudaSuccess;
import static org.bytedeco.cuda.global.nccl.NCCL_VERSION_CODE;
import static org.bytedeco.cuda.global.nccl.ncclAllGather;
import static org.bytedeco.cuda.global.nccl.ncclAllReduce;
import static org.bytedeco.cuda.global.nccl.ncclAvg;
import static org.bytedeco.cuda.global.nccl.ncclBfloat16;
import static org.bytedeco.cuda.global.nccl.ncclBroadcast;
import static org.bytedeco.cuda.global.nccl.ncclCommAbort;
import static org.bytedeco.cuda.global.nccl.ncclCommGetAsyncError;
import static org.bytedeco.cuda.global.nccl.ncclCommInitRankConfig;
import static org.bytedeco.cuda.global.nccl.ncclFloat16;
import static org.bytedeco.cuda.global.nccl.ncclFloat32;
import static org.bytedeco.cuda.global.nccl.ncclGetErrorString;
import static org.bytedeco.cuda.global.nccl.ncclGetUniqueId;
import static org.bytedeco.cuda.global.nccl.ncclInProgress;
import static org.bytedeco.cuda.global.nccl.ncclInt32;
import static org.bytedeco.cuda.global.nccl.ncclInt8;
import static org.bytedeco.cuda.global.nccl.ncclMax;
import static org.bytedeco.cuda.global.nccl.ncclMin;
import static org.bytedeco.cuda.global.nccl.ncclReduceScatter;
import static org.bytedeco.cuda.global.nccl.ncclSuccess;
import static org.bytedeco.cuda.global.nccl.ncclSum;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.internal.DeviceAccess;
import dev.sinew.internal.SinewNative;
import dev.sinew.internal.TensorAccess;
import dev.sinew.internal.sn_tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.IntSupplier;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

/**
 * A rank of NCCL. Its calls do not block: each is polled until it is done or the deadline has come,
 * and then aborted. Compiled, and run with a library in the place of NCCL; never on a GPU.
 */
final class NcclCommunicator extends Communicator {
  private static final int MAGIC = 0xcafebeef; // of NCCL_CONFIG_INITIALIZER
  private static final int UNDEFINED = Integer.MIN_VALUE; // NCCL_CONFIG_UNDEF_INT
  private static final int ID_BYTES = 128;
  private static final String START = "the start";

  /** Rank 0's decides whether ranks of many processes compare what they ask for. */
  private static final String CHECK_PROPERTY = "sinew.nccl.check";

  private final Device gpu;
  private final int index;
  private final CurrentGpu current =
      new CurrentGpu(
          () -> {
            int[] now = new int[1];
            checkCuda(cudaGetDevice(now));
            return now[0];
          },
          gpu -> checkCuda(cudaSetDevice(gpu)));
  private final Duration timeout;
  private final Agreement agreement;
  private final ncclComm communicator = new ncclComm();
  private final CUstream_st stream = new CUstream_st();
  private Tensor token; // of barriers
  private RankFailedException broken;
  private boolean closed;

  private NcclCommunicator(int rank, int size, Device gpu, Duration timeout, Agreement agreement) {
    super(rank, size);
    this.gpu = gpu;
    this.index = DeviceAccess.get().gpu(gpu);
    this.timeout = timeout;
    this.agreement = agreement;
  }

  /** This process's rank. {@link NcclLibrary} is loaded. */
  static NcclCommunicator open(TcpBootstrap ranks, Device gpu, Duration timeout) {
    byte[] own = ranks.rank() == 0 ? uniqueId() : new byte[ID_BYTES];
    TcpBootstrap.Met met = ranks.meet(own, Boolean.getBoolean(CHECK_PROPERTY), timeout);
    NcclCommunicator communicator =
        new NcclCommunicator(ranks.rank(), ranks.size(), gpu, timeout, met.agreement());
    communicator.start(met.bytes());
    return communicator;
  }

  /**
   * All ranks of a group whose GPUs are of this process. As {@link #open}.
   *
   * @param agreements those of the ranks, which are not closed with them
   */
  static List<NcclCommunicator> openAll(
      List<Device> gpus, Duration timeout, List<Agreement> agreements) {
    byte[] id = uniqueId();
    List<NcclCommunicator> group = new ArrayList<>();
    // Each on a thread of its own, as the start ends when all have started.
    List<CompletableFuture<Void>> starts = new ArrayList<>();
    for (int r = 0; r < gpus.size(); r++) {
      NcclCommunicator rank =
          new NcclCommunicator(r, gpus.size(), gpus.get(r), timeout, agreements.get(r));
      group.add(rank);
      starts.add(
          CompletableFuture.runAsync(() -> rank.start(id), task -> new Thread(task).start()));
    }
    Throwable failure = null;
    for (CompletableFuture<Void> start : starts) {
      try {
        start.join();
      } catch (CompletionException e) {
        failure = failure == null ? e.getCause() : failure;
      }
    }
    if (failure == null) {
      return group;
    }
    group.forEach(NcclCommunicator::close);
    if (failure instanceof Error error) {
      throw error;
    }
    throw (RuntimeException) failure;
  }

  private static byte[] uniqueId() {
    // In a buffer of Java's, as JavaCPP refuses to allocate beyond a limit of its own.
    ByteBuffer buffer = ByteBuffer.allocateDirect(ID_BYTES);
    check(ncclGetUniqueId(new ncclUniqueId(new BytePointer(buffer))));
    byte[] bytes = new byte[ID_BYTES];
    buffer.get(0, bytes);
    return bytes;
  }

  private void start(byte[] bytes) {
    ncclUniqueId id =
        new ncclUniqueId(new BytePointer(ByteBuffer.allocateDirect(ID_BYTES).put(0, bytes)));
    try (ncclConfig_t config = configuration()) {
      current.during(
          index,
          () -> {
            await(() -> ncclCommInitRankConfig(communicator, size(), id, rank(), config), START);
            checkCuda(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
          });
      token = Tensor.allocate(gpu, DType.F32, 1);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private static ncclConfig_t configuration() {
    return new ncclConfig_t()
        .size(Loader.sizeof(ncclConfig_t.class))
        .magic(MAGIC)
        .version(NCCL_VERSION_CODE)
        .blocking(0)
        .cgaClusterSize(UNDEFINED)
        .minCTAs(UNDEFINED)
        .maxCTAs(UNDEFINED)
        .netName(null)
        .splitShare(UNDEFINED)
        .trafficClass(UNDEFINED)
        .commName(null)
        .collnetEnable(UNDEFINED)
        .CTAPolicy(UNDEFINED)
        .shrinkShare(UNDEFINED)
        .nvlsCTAs(UNDEFINED)
        .nChannelsPerNetPeer(UNDEFINED)
        .nvlinkCentricSched(UNDEFINED)
        .graphUsageMode(UNDEFINED)
        .numRmaCtx(UNDEFINED)
        .maxP2pPeers(UNDEFINED)
        .graphStreamOrdering(UNDEFINED);
  }

  @Override
  public void allReduce(Tensor x, ReduceOp op, Tensor out) {
    requireParts(x, x, out, 1);
    call(
        request(SinewNative.SN_ALL_REDUCE, x, op.code(), 0),
        (px, po) -> ncclAllReduce(px, po, x.elements(), type(x), code(op), communicator, stream),
        x,
        out);
  }

  @Override
  public void allReduceCompressed(Tensor x, ReduceOp op, Tensor out) {
    throw new UnsupportedOperationException("NCCL has no compressed all-reduce; call allReduce");
  }

  @Override
  public void allReduceRmsNorm(
      Tensor x, Tensor residual, Tensor weight, double eps, Tensor sum, Tensor y) {
    throw new UnsupportedOperationException(
        "NCCL does not norm what it reduces; call the three operations in turn");
  }

  @Override
  public void reduceScatter(Tensor x, ReduceOp op, Tensor out) {
    requireParts(x, x, out, size());
    call(
        request(SinewNative.SN_REDUCE_SCATTER, x, op.code(), 0),
        (px, po) ->
            ncclReduceScatter(px, po, out.elements(), type(x), code(op), communicator, stream),
        x,
        out);
  }

  @Override
  public void allGather(Tensor x, Tensor out) {
    requireParts(x, out, x, size());
    call(
        request(SinewNative.SN_ALL_GATHER, x, 0, 0),
        (px, po) -> ncclAllGather(px, po, x.elements(), type(x), communicator, stream),
        x,
        out);
  }

  @Override
  public void broadcast(Tensor x, int root) {
    if (root < 0 || root >= size()) {
      throw new IllegalArgumentException("the root " + root + " is not within 0.." + (size() - 1));
    }
    requireParts(x, x, x, 1);
    call(
        request(SinewNative.SN_BROADCAST, x, 0, root),
        (px, po) -> ncclBroadcast(px, po, x.elements(), type(x), root, communicator, stream),
        x,
        x);
  }

  @Override
  public void barrier() {
    call(
        request(SinewNative.SN_BARRIER, token, 0, 0),
        (px, po) -> ncclAllReduce(px, po, 1, ncclFloat32, code(ReduceOp.MAX), communicator, stream),
        token,
        token);
  }

  private static Agreement.Request request(int operation, Tensor x, int reduction, int root) {
    return new Agreement.Request(operation, x.dtype(), reduction, root, x.elements());
  }

  // Both on this rank's GPU, of one dtype, and so many parts like `part` in the whole.
  private void requireParts(Tensor any, Tensor whole, Tensor part, int parts) {
    type(any);
    if (whole.device() != gpu || part.device() != gpu) {
      throw new IllegalArgumentException("the tensors are not on " + gpu + ", that of this rank");
    }
    if (whole.dtype() != part.dtype()
        || whole.elements() % parts != 0
        || whole.elements() / parts != part.elements()) {
      throw new IllegalArgumentException(
          whole + " does not consist of " + parts + " parts like " + part);
    }
  }

  private static int type(Tensor tensor) {
    return switch (tensor.dtype()) {
      case F32 -> ncclFloat32;
      case F16 -> ncclFloat16;
      case BF16 -> ncclBfloat16;
      case I32 -> ncclInt32;
      case I8 -> ncclInt8;
      default ->
          throw new IllegalArgumentException(
              "a tensor is " + tensor.dtype() + ", not one of F32, F16, BF16, I32, I8");
    };
  }

  private static int code(ReduceOp op) {
    return switch (op) {
      case SUM -> ncclSum;
      case AVERAGE -> ncclAvg;
      case MIN -> ncclMin;
      case MAX -> ncclMax;
    };
  }

  private interface Call {
    int run(Pointer x, Pointer out);
  }

  /** Throws if a call has failed before. */
  void requireUsable() {
    if (broken != null) {
      throw new RankFailedException(
          broken.rank(),
          "the communicator is unusable since a call failed: " + broken.getMessage());
    }
  }

  private void call(Agreement.Request request, Call call, Tensor x, Tensor out) {
    alone(
        () -> {
          if (closed) {
            throw new IllegalStateException("the communicator is closed");
          }
          requireUsable();
          TensorAccess access = TensorAccess.get();
          sn_tensor px = access.acquire(x);
          try {
            sn_tensor po = access.acquire(out);
            try {
              agree(request);
              gpu.synchronize(); // NCCL's stream is another
              Pointer from = SinewNative.sn_tensor_data(px);
              Pointer to = SinewNative.sn_tensor_data(po);
              current.during(
                  index,
                  () -> {
                    await(() -> call.run(from, to), request.name());
                    awaitStream(request.name());
                  });
            } finally {
              access.release(out);
            }
          } finally {
            access.release(x);
          }
        });
  }

  private void agree(Agreement.Request request) {
    try {
      agreement.agree(request);
    } catch (RankFailedException e) {
      abort(e);
      throw e;
    }
  }

  // What NCCL goes on with after the call has returned.
  private void await(IntSupplier call, String name) {
    long deadline = System.nanoTime() + timeout.toNanos();
    int code = call.getAsInt();
    int[] state = {code};
    while (code == ncclInProgress) {
      int asked = ncclCommGetAsyncError(communicator, state);
      code = asked == ncclSuccess ? state[0] : asked;
      pauseUntil(deadline, name);
    }
    if (code != ncclSuccess) {
      throw failed(name + " of NCCL failed: " + ncclGetErrorString(code).getString());
    }
  }

  private void awaitStream(String name) {
    long deadline = System.nanoTime() + timeout.toNanos();
    int[] state = new int[1];
    for (int code = cudaStreamQuery(stream); code != cudaSuccess; code = cudaStreamQuery(stream)) {
      if (code != cudaErrorNotReady) {
        throw failed(name + " failed on the GPU: " + cudaGetErrorString(code).getString());
      }
      if (ncclCommGetAsyncError(communicator, state) != ncclSuccess
          || (state[0] != ncclSuccess && state[0] != ncclInProgress)) {
        throw failed(name + " of NCCL failed: " + ncclGetErrorString(state[0]).getString());
      }
      pauseUntil(deadline, name);
    }
  }

  private void pauseUntil(long deadline, String name) {
    if (System.nanoTime() - deadline > 0) {
      throw failed(
          name
              + " was not complete within "
              + timeout.toMillis() / 1000.0
              + " s: a rank has failed, hangs or asks for something else"
              + (agreement == Agreement.NONE && !name.equals(START)
                  ? "; -D" + CHECK_PROPERTY + "=true on rank 0 says which"
                  : ""));
    }
    Thread.onSpinWait();
  }

  private RankFailedException failed(String sentence) {
    RankFailedException e = new RankFailedException(-1, sentence);
    abort(e);
    return e;
  }

  // Ends what still runs on the GPU, so that tensors can be freed.
  private void abort(RankFailedException why) {
    broken = why;
    current.during(index, () -> ncclCommAbort(communicator));
    agreement.close();
  }

  private static void check(int code) {
    if (code != ncclSuccess) {
      throw new UnsupportedOperationException(
          "NCCL cannot be used: " + ncclGetErrorString(code).getString());
    }
  }

  private static void checkCuda(int code) {
    if (code != cudaSuccess) {
      throw new IllegalStateException(
          "NCCL cannot use the GPU: " + cudaGetErrorString(code).getString());
    }
  }

  @Override
  public void close() {
    alone(
        () -> {
          if (closed) {
            return;
          }
          closed = true;
          current.during(
              index,
              () -> {
                if (broken == null) {
                  // Not destroyed, which would wait for the others.
                  ncclCommAbort(communicator);
                }
                if (!stream.isNull()) {
                  cudaStreamDestroy(stream);
                }
              });
          agreement.close();
          if (token != null) {
            token.close();
          }
        });
  }
}
