package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RadixSelectorTest {
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void ranksAmongMixedTypes(boolean byMagnitude) {
    Random random = new Random(4);
    List<Tensor> tensors = new ArrayList<>();
    double[] all = new double[0];
    for (DType dtype : List.of(DType.F32, DType.BF16, DType.F16, DType.F64, DType.BF16)) {
      double[] values = Numbers.weights(random, 3001);
      tensors.add(Numbers.tensor(Device.cpu(), dtype, values, 3001));
      double[] held = Numbers.rounded(dtype, values);
      all = Arrays.copyOf(all, all.length + held.length);
      System.arraycopy(held, 0, all, all.length - held.length, held.length);
    }
    float[] sorted = new float[all.length];
    for (int i = 0; i < all.length; i++) {
      sorted[i] = byMagnitude ? Math.abs((float) all[i]) : (float) all[i];
    }
    Arrays.sort(sorted); // -0 before 0, as keys order them
    int n = sorted.length;
    for (long[] ranks :
        new long[][] {{0}, {n - 1}, {n / 2}, {7, 7}, {0, n - 1}, {100, 101, 5000, n - 3}}) {
      try (RadixSelector selector = new RadixSelector(byMagnitude, ranks)) {
        for (int level = 0; level < 2; level++) {
          for (int t = 0; t < tensors.size(); t++) {
            if (level == 0 || RadixSelector.needsSecondLevel(tensors.get(t).dtype())) {
              selector.observe(level, tensors.get(t), t % 3);
            }
          }
          selector.finish(level);
        }
        for (int i = 0; i < ranks.length; i++) {
          float value = sorted[(int) ranks[i]];
          assertEquals(value, selector.value(i));
          long before = 0;
          long equal = 0;
          for (float other : sorted) {
            before += Float.compare(other, value) < 0 ? 1 : 0;
            equal += Float.compare(other, value) == 0 ? 1 : 0;
          }
          assertEquals(before, selector.before(i));
          assertEquals(equal, selector.equal(i));
        }
      }
    }
    tensors.forEach(Tensor::close);
  }
}
