package dev.sinew.benchmarks.collectives;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.collective.Communicator;
import dev.sinew.internal.RankThreads;
import java.util.ArrayList;
import java.util.List;

/**
 * As many ranks as there are processes, but threads of the first of these; the others do nothing.
 */
final class SinewThreads extends AllReduce {
  private final List<SinewRank> ranks = new ArrayList<>();
  private final List<Tensor> own = new ArrayList<>();
  private final RankThreads threads = new RankThreads();

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
    return threads.largest(
        ranks.size(),
        r -> {
          ranks.get(r).run(); // until all are there
          return ranks.get(r).seconds(calls);
        });
  }

  @Override
  public void close() {
    threads.close();
    ranks.forEach(SinewRank::close);
    own.forEach(Tensor::close);
  }
}
