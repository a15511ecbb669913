package dev.sinew.nn;

/** Scaled dot-product attention by its formula, in F64. */
record AttentionOracle(int heads, int keyValueHeads, int size, boolean causal) {
  /**
   * @param q [tokens, heads, size]
   * @param k [tokens, keyValueHeads, size]
   * @param v as k
   */
  double[] apply(double[] q, double[] k, double[] v) {
    int tokens = q.length / (heads * size);
    double[] y = new double[q.length];
    for (int head = 0; head < heads; head++) {
      int shared = head / (heads / keyValueHeads);
      for (int i = 0; i < tokens; i++) {
        int seen = causal ? i + 1 : tokens;
        double[] scores = new double[seen];
        for (int j = 0; j < seen; j++) {
          for (int d = 0; d < size; d++) {
            scores[j] +=
                q[(i * heads + head) * size + d]
                    * k[(j * keyValueHeads + shared) * size + d]
                    / Math.sqrt(size);
          }
        }
        double[] weights = Oracle.softmax(scores, seen);
        for (int j = 0; j < seen; j++) {
          for (int d = 0; d < size; d++) {
            y[(i * heads + head) * size + d] +=
                weights[j] * v[(j * keyValueHeads + shared) * size + d];
          }
        }
      }
    }
    return y;
  }

  /** Rotates pairs (i, i + size / 2) of every head. */
  static double[] rotate(double[] x, int heads, int size, double theta) {
    double[] y = x.clone();
    for (int row = 0; row < x.length / size; row++) {
      int position = row / heads;
      for (int i = 0; i < size / 2; i++) {
        double angle = position * Math.pow(theta, -2.0 * i / size);
        double a = x[row * size + i];
        double b = x[row * size + i + size / 2];
        y[row * size + i] = a * Math.cos(angle) - b * Math.sin(angle);
        y[row * size + i + size / 2] = b * Math.cos(angle) + a * Math.sin(angle);
      }
    }
    return y;
  }
}
