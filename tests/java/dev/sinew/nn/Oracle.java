package dev.sinew.nn;

/** What layers compute, in plain F64 Java, by the formulas of their documentation. */
final class Oracle {
  private Oracle() {}

  /** x [rows, in], weights [out, in]; bias may be null. */
  static double[] linear(double[] x, double[] weights, double[] bias, int in, int out) {
    int rows = x.length / in;
    double[] y = new double[rows * out];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < out; j++) {
        double sum = bias == null ? 0 : bias[j];
        for (int k = 0; k < in; k++) {
          sum += x[i * in + k] * weights[j * in + k];
        }
        y[i * out + j] = sum;
      }
    }
    return y;
  }

  /** Sums of magnitudes, which errors of a sum in floating point are measured by. */
  static double[] linearMagnitude(double[] x, double[] weights, double[] bias, int in, int out) {
    return linear(absolute(x), absolute(weights), bias == null ? null : absolute(bias), in, out);
  }

  static double[] absolute(double[] values) {
    double[] absolute = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      absolute[i] = Math.abs(values[i]);
    }
    return absolute;
  }

  /** A convolution of images [n, in, height, width] with equal strides, paddings and dilations. */
  record Convolution(
      int in, int out, int kernel, int stride, int padding, int dilation, int groups) {
    int size(int size) {
      return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
    }

    double[] apply(double[] x, double[] weights, double[] bias, int height, int width) {
      int images = x.length / (in * height * width);
      int rows = size(height);
      int cols = size(width);
      int perGroup = in / groups;
      double[] y = new double[images * out * rows * cols];
      int at = 0;
      for (int image = 0; image < images; image++) {
        for (int channel = 0; channel < out; channel++) {
          int first = channel / (out / groups) * perGroup;
          for (int row = 0; row < rows; row++) {
            for (int col = 0; col < cols; col++) {
              double sum = bias == null ? 0 : bias[channel];
              for (int c = 0; c < perGroup; c++) {
                for (int i = 0; i < kernel; i++) {
                  for (int j = 0; j < kernel; j++) {
                    int r = row * stride - padding + i * dilation;
                    int s = col * stride - padding + j * dilation;
                    if (r >= 0 && r < height && s >= 0 && s < width) {
                      int weight = ((channel * perGroup + c) * kernel + i) * kernel + j;
                      sum +=
                          weights[weight] * x[((image * in + first + c) * height + r) * width + s];
                    }
                  }
                }
              }
              y[at++] = sum;
            }
          }
        }
      }
      return y;
    }
  }

  /** x [n, channels, inner]. */
  static double[] batchNorm(
      double[] x,
      double[] mean,
      double[] variance,
      double[] weight,
      double[] bias,
      double epsilon,
      int inner) {
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      int channel = i / inner % mean.length;
      double normal = (x[i] - mean[channel]) / Math.sqrt(variance[channel] + epsilon);
      y[i] = normal * weight[channel] + bias[channel];
    }
    return y;
  }

  static double[] relu(double[] x) {
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      y[i] = Math.max(0, x[i]);
    }
    return y;
  }

  /** What a layer norm makes of rows, or an RMS norm if there is no bias. */
  static double[] norm(double[] x, double[] weight, double[] bias, double epsilon) {
    int size = weight.length;
    double[] y = new double[x.length];
    for (int from = 0; from < x.length; from += size) {
      double mean = 0;
      double square = 0;
      for (int i = 0; i < size && bias != null; i++) {
        mean += x[from + i] / size;
      }
      for (int i = 0; i < size; i++) {
        square += (x[from + i] - mean) * (x[from + i] - mean) / size;
      }
      for (int i = 0; i < size; i++) {
        double normal = (x[from + i] - mean) / Math.sqrt(square + epsilon);
        y[from + i] = normal * weight[i] + (bias == null ? 0 : bias[i]);
      }
    }
    return y;
  }

  static double[] softmax(double[] x, int size) {
    double[] y = new double[x.length];
    for (int from = 0; from < x.length; from += size) {
      double max = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < size; i++) {
        max = Math.max(max, x[from + i]);
      }
      double sum = 0;
      for (int i = 0; i < size; i++) {
        sum += y[from + i] = Math.exp(x[from + i] - max);
      }
      for (int i = 0; i < size; i++) {
        y[from + i] /= sum;
      }
    }
    return y;
  }
}
