package dev.sinew.benchmarks.collectives;

import dev.sinew.Tensor;
import dev.sinew.benchmarks.peers.Address;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.FileStore;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.bytedeco.pytorch.global.torch_gloo;

/** Gloo as libtorch calls it: over TCP on the loopback interface, and in place. */
final class Gloo extends AllReduce {
  private final ProcessGroupGloo group;
  private org.bytedeco.pytorch.Tensor view;
  private TensorVector tensors;

  /**
   * @param file through which the ranks find each other; not there before
   */
  Gloo(String file, int rank, int ranks) {
    Loader.load(torch_gloo.class);
    ProcessGroupGloo.Options options = ProcessGroupGloo.Options.create();
    options.devices().push_back(ProcessGroupGloo.createDeviceForHostname("127.0.0.1"));
    group = new ProcessGroupGloo(new FileStore(file, ranks), rank, ranks, options);
  }

  @Override
  String name() {
    return "Gloo";
  }

  @Override
  void prepare(Tensor x, Tensor out) {
    super.prepare(x, out);
    close();
    TensorOptions floats = new TensorOptions(ScalarType.Float);
    view = torch.from_blob(Address.of(out), out.shape(), floats);
    tensors = new TensorVector(view);
  }

  @Override
  void restore() {
    Numbers.copy(x, out);
  }

  @Override
  void run() {
    try (Work work = group.allreduce(tensors)) {
      if (!work._wait()) {
        throw new IllegalStateException("Gloo's all-reduce has failed");
      }
    }
  }

  /** Closes the view; the group lasts as long as the process, as libtorch's own threads do. */
  @Override
  public void close() {
    if (view != null) {
      tensors.close();
      view.close();
      view = null;
    }
  }
}
