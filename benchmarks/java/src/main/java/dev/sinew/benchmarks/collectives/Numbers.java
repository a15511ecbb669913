package dev.sinew.benchmarks.collectives;

import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/** What ranks put in, and whether the right sums come out. */
final class Numbers {
  private static final int PERIOD = 9;

  private Numbers() {}

  /** Integers from -4 to 4, whose sums are exact in F32. */
  private static float input(int rank, int index) {
    return (index % PERIOD * 7 + rank * 5) % PERIOD - 4;
  }

  static void fillInput(Tensor tensor, int rank) {
    float[] period = new float[PERIOD];
    for (int i = 0; i < PERIOD; i++) {
      period[i] = input(rank, i);
    }
    withFloats(
        tensor,
        floats -> {
          for (int i = 0; i < floats.limit(); i++) {
            floats.put(i, period[i % PERIOD]);
          }
        });
  }

  static void fillNan(Tensor tensor) {
    withFloats(
        tensor,
        floats -> {
          for (int i = 0; i < floats.limit(); i++) {
            floats.put(i, Float.NaN);
          }
        });
  }

  static void copy(Tensor from, Tensor to) {
    withFloats(from, x -> withFloats(to, out -> out.put(x)));
  }

  /** How many elements are not the sum of so many ranks' inputs. */
  static long countWrong(Tensor result, int ranks) {
    float[] expected = new float[PERIOD];
    for (int i = 0; i < PERIOD; i++) {
      for (int r = 0; r < ranks; r++) {
        expected[i] += input(r, i);
      }
    }
    long[] wrong = new long[1];
    withFloats(
        result,
        floats -> {
          for (int i = 0; i < floats.limit(); i++) {
            wrong[0] += floats.get(i) == expected[i % PERIOD] ? 0 : 1; // NaN equals nothing
          }
        });
    return wrong[0];
  }

  private interface Use {
    void use(FloatBuffer floats);
  }

  private static void withFloats(Tensor tensor, Use use) {
    tensor.withBuffer(0, (int) tensor.byteSize(), (ByteBuffer b) -> use.use(b.asFloatBuffer()));
  }
}
