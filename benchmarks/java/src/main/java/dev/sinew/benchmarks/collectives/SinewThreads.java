package dev.sinew.benchmarks.collectives;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.collective.Communicator;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * As many ranks as there are processes, but threads of the first of these; the others do nothing.
 */
final class SinewThreads extends AllReduce {
  private final List<SinewRank> ranks = new ArrayList<>();
  private final List<Tensor> own = new ArrayList<>();
  private final ExecutorService threads = Executors.newCachedThreadPool();

  /**
   * @param count none in all processes but one
   */
  SinewThreads(int count) {
    if (count > 0) {
      Communicator.threads(count).forEach(c -> ranks.add(new SinewRank(name(), c)));
    }
  }

  @Override
  String name() {
    return "Sinew, threads";
  }

  @Override
  void prepare(Tensor x, Tensor out) {
    super.prepare(x, out);
    own.forEach(Tensor::close);
    own.clear();
    for (int r = 0; r < ranks.size(); r++) {
      if (r == 0) {
        ranks.get(r).prepare(x, out);
        continue;
      }
      Tensor input = Tensor.allocate(Device.cpu(), DType.F32, x.elements());
      Tensor output = Tensor.allocate(Device.cpu(), DType.F32, x.elements());
      Numbers.fillInput(input, r);
      Numbers.fillNan(output);
      own.add(input);
      own.add(output);
      ranks.get(r).prepare(input, output);
    }
  }

  @Override
  List<Tensor> outputs() {
    return ranks.stream().map(rank -> rank.out).toList();
  }

  @Override
  void run() {
    throw new UnsupportedOperationException("a thread for each rank calls");
  }

  @Override
  double seconds(int calls) throws Exception {
    List<Future<Double>> futures = new ArrayList<>();
    for (SinewRank rank : ranks) {
      futures.add(
          threads.submit(
              () -> {
                rank.run(); // until all are there
                return rank.seconds(calls);
              }));
    }
    double longest = 0;
    for (Future<Double> future : futures) {
      try {
        longest = Math.max(longest, future.get());
      } catch (ExecutionException e) {
        throw e.getCause() instanceof Exception cause ? cause : e;
      }
    }
    return longest;
  }

  @Override
  public void close() {
    threads.shutdown();
    ranks.forEach(SinewRank::close);
    own.forEach(Tensor::close);
  }
}
