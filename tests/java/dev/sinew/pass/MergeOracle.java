package dev.sinew.pass;

import dev.sinew.PhiloxOracle;
import dev.sinew.QuantOracle;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.List;

/** Ways to merge in F64, one plain loop after the other, from docs/numerics.md. */
final class MergeOracle {
  private MergeOracle() {}

  static double[] linear(List<double[]> models, double... weights) {
    double[] out = new double[models.get(0).length];
    for (int m = 0; m < models.size(); m++) {
      for (int i = 0; i < out.length; i++) {
        out[i] += weights[m] * models.get(m)[i];
      }
    }
    return out;
  }

  static double[] taskArithmetic(double[] base, List<double[]> models, double... weights) {
    double[] out = base.clone();
    for (int m = 0; m < models.size(); m++) {
      for (int i = 0; i < out.length; i++) {
        out[i] += weights[m] * (models.get(m)[i] - base[i]);
      }
    }
    return out;
  }

  static double[] slerp(double[] a, double[] b, double t) {
    double aa = 0;
    double bb = 0;
    double ab = 0;
    for (int i = 0; i < a.length; i++) {
      aa += a[i] * a[i];
      bb += b[i] * b[i];
      ab += a[i] * b[i];
    }
    double cosine = ab / Math.sqrt(aa * bb);
    double from = 1 - t;
    double to = t;
    if (aa > 0 && bb > 0 && Math.abs(cosine) <= 0.9995) {
      double angle = Math.acos(cosine);
      from = Math.sin((1 - t) * angle) / Math.sin(angle);
      to = Math.sin(t * angle) / Math.sin(angle);
    }
    return linear(List.of(a, b), from, to);
  }

  /** The difference to the base, in F32, without its smallest elements. */
  static double[] trimmed(double[] base, double[] model, double density) {
    double[] difference = new double[base.length];
    for (int i = 0; i < base.length; i++) {
      difference[i] = (float) model[i] - (float) base[i];
    }
    int count =
        BigDecimal.ONE
            .subtract(new BigDecimal(Double.toString(density)))
            .multiply(BigDecimal.valueOf(base.length))
            .setScale(0, RoundingMode.DOWN)
            .intValueExact();
    long[] order = QuantOracle.byMagnitude(difference);
    for (int i = 0; i < count; i++) {
      difference[(int) order[i]] = 0;
    }
    return difference;
  }

  static double[] ties(
      double[] base,
      List<double[]> models,
      double density,
      double lambda,
      boolean normalize,
      double... weights) {
    List<double[]> kept = models.stream().map(model -> trimmed(base, model, density)).toList();
    double[] out = base.clone();
    for (int i = 0; i < out.length; i++) {
      float elected = 0;
      for (int m = 0; m < kept.size(); m++) {
        elected += (float) weights[m] * (float) kept.get(m)[i];
      }
      double sum = 0;
      double weight = 0;
      for (int m = 0; m < kept.size(); m++) {
        double value = weights[m] * kept.get(m)[i];
        if (elected >= 0 ? value > 0 : value < 0) {
          sum += value;
          weight += weights[m];
        }
      }
      out[i] += lambda * (normalize && weight != 0 ? sum / weight : sum);
    }
    return out;
  }

  static double[] dare(
      String name,
      double[] base,
      List<double[]> models,
      double density,
      long seed,
      double... weights) {
    double[] out = base.clone();
    for (int m = 0; m < models.size(); m++) {
      long stream = stream(name, m);
      for (int i = 0; i < out.length; i++) {
        if (PhiloxOracle.keeps(seed, stream, i, density)) {
          out[i] += weights[m] / density * (models.get(m)[i] - base[i]);
        }
      }
    }
    return out;
  }

  static long stream(String name, int model) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(name.getBytes(StandardCharsets.UTF_8));
      byte[] hash = digest.digest(new byte[] {(byte) model, 0, 0, 0});
      long stream = 0;
      for (int i = 7; i >= 0; i--) {
        stream = stream << 8 | hash[i] & 0xff;
      }
      return stream;
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }
}
