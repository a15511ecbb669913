package dev.sinew.pass;

import java.math.BigDecimal;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * How several models of one architecture become one. Use the factory methods; {@link Merger} merges
 * checkpoints of any size.
 *
 * <p>docs/numerics.md has the formulas, how they round, and DARE's random numbers.
 *
 * @param method how elements are combined
 * @param weights one a model; none stands for 1 each
 * @param normalize whether weights are divided by their sum; only {@link Method#LINEAR} and {@link
 *     Method#TIES} can
 * @param t SLERP's place between the first model (0) and the second (1)
 * @param density the share of a task vector that TIES and DARE keep, above 0 and at most 1
 * @param lambda factor of the merged task vector, for the methods with a base
 * @param seed of DARE's random numbers
 */
public record Merge(
    Method method,
    List<Double> weights,
    boolean normalize,
    double t,
    double density,
    double lambda,
    long seed) {
  /** The most models that can be merged at once. */
  public static final int MOST_MODELS = 64;

  /** The ways to merge. */
  public enum Method {
    /** A weighted sum, by default an average. */
    LINEAR,
    /** Spherical linear interpolation between two models (Shoemake 1985), tensor by tensor. */
    SLERP,
    /**
     * The base and a weighted sum of task vectors: Ilharco et al., "Editing models with task
     * arithmetic", 2023.
     */
    TASK_ARITHMETIC,
    /**
     * Task vectors are trimmed, a sign is elected for each element, and those that have it are
     * averaged: Yadav et al., "TIES-merging: resolving interference when merging models", 2023.
     */
    TIES,
    /**
     * Elements of task vectors are dropped at random and the others made larger in compensation: Yu
     * et al., "Language models are super Mario", 2024.
     */
    DARE;

    /** Whether task vectors are merged, which needs the model they were trained from. */
    public boolean needsBase() {
      return this != LINEAR && this != SLERP;
    }

    /** Whether {@link Merge#density} counts. */
    public boolean usesDensity() {
      return this == TIES || this == DARE;
    }

    /** Whether {@link Merge#normalize} may be set. */
    public boolean canNormalize() {
      return this == LINEAR || this == TIES;
    }

    /** The name on the command line. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /**
   * @throws IllegalArgumentException one sentence that says which value is out of range
   */
  public Merge {
    weights = List.copyOf(weights);
    for (double weight : weights) {
      requireFinite(weight, "weight");
    }
    if (normalize && !method.canNormalize()) {
      throw new IllegalArgumentException("weights of " + method + " are not normalized");
    }
    if (!(t >= 0 && t <= 1)) {
      throw new IllegalArgumentException("t = " + t + " is not between 0 and 1");
    }
    if (!(density > 0 && density <= 1)) {
      throw new IllegalArgumentException(
          "the density " + density + " is not above 0 and at most 1");
    }
    requireFinite(lambda, "lambda");
    if (method == Method.SLERP && !weights.isEmpty()) {
      throw new IllegalArgumentException("slerp has no weights; choose t instead");
    }
    if (normalize && !weights.isEmpty()) {
      requireNormalizable(method, weights);
    }
  }

  private static void requireFinite(double value, String what) {
    if (!Float.isFinite((float) value)) {
      throw new IllegalArgumentException(
          "the " + what + " " + value + " is not a number that F32 holds");
    }
  }

  private static void requireNormalizable(Method method, List<Double> weights) {
    double sum = sum(weights);
    if (sum == 0 || !Double.isFinite(1 / sum)) {
      throw new IllegalArgumentException(
          "the weights "
              + text(weights)
              + " sum to 0 and cannot be normalized; change them or do not normalize");
    }
    if (method == Method.TIES && weights.stream().anyMatch(weight -> weight < 0)) {
      throw new IllegalArgumentException(
          "the weights "
              + text(weights)
              + " have a negative one, which TIES cannot normalize; change it or do not normalize");
    }
  }

  /**
   * A weighted average.
   *
   * @param weights one a model, which need not sum to 1; none for equal ones
   */
  public static Merge linear(double... weights) {
    return new Merge(Method.LINEAR, listOf(weights), true, 0.5, 1, 1, 0);
  }

  /** Between two models, at t from 0 (the first) to 1 (the second). */
  public static Merge slerp(double t) {
    return new Merge(Method.SLERP, List.of(), false, t, 1, 1, 0);
  }

  /** The base and the sum of weighted task vectors. */
  public static Merge taskArithmetic(double... weights) {
    return new Merge(Method.TASK_ARITHMETIC, listOf(weights), false, 0.5, 1, 1, 0);
  }

  /** TIES with the ceil(density x n) largest elements of every task vector. */
  public static Merge ties(double density, double... weights) {
    return new Merge(Method.TIES, listOf(weights), true, 0.5, density, 1, 0);
  }

  /** DARE that keeps each element with the probability {@code density}. */
  public static Merge dare(double density, long seed, double... weights) {
    return new Merge(Method.DARE, listOf(weights), false, 0.5, density, 1, seed);
  }

  private static List<Double> listOf(double... weights) {
    return java.util.Arrays.stream(weights).boxed().toList();
  }

  /** The options of the command line that give this. */
  public String recipe() {
    StringBuilder recipe = new StringBuilder("--method " + method);
    if (!weights.isEmpty()) {
      recipe.append(" --weights ").append(text(weights));
    }
    if (method == Method.SLERP) {
      recipe.append(" --t ").append(t);
    }
    if (method.usesDensity()) {
      recipe.append(" --density ").append(density);
    }
    if (method.needsBase()) {
      recipe.append(" --lambda ").append(lambda);
    }
    if (method == Method.DARE) {
      recipe.append(" --seed ").append(seed);
    }
    if (method.canNormalize() && !normalize) {
      recipe.append(" --no-normalize");
    }
    return recipe.toString();
  }

  private static String text(List<Double> weights) {
    return weights.stream().map(String::valueOf).collect(Collectors.joining(","));
  }

  private static double sum(List<Double> weights) {
    double sum = 0;
    for (double weight : weights) {
      sum += weight;
    }
    return sum;
  }

  /**
   * @throws IllegalArgumentException if this does not go with so many models, or with or without a
   *     base
   */
  public void requireModels(int models, boolean base) {
    int least = method.needsBase() ? 1 : 2;
    int most = method == Method.SLERP ? 2 : MOST_MODELS;
    if (models < least || models > most) {
      throw new IllegalArgumentException(
          method
              + " merges "
              + (least == most ? "exactly " + least : least + " to " + most)
              + " models, not "
              + models);
    }
    if (!weights.isEmpty() && weights.size() != models) {
      throw new IllegalArgumentException(
          weights.size() + " weights do not fit " + models + " models; give one a model");
    }
    if (base != method.needsBase()) {
      throw new IllegalArgumentException(
          method + (base ? " has no base model" : " needs a base model"));
    }
    coefficients(models);
  }

  /**
   * What the kernels multiply with: computed in F64 and rounded to F32 once. For SLERP at an angle
   * the coefficients are those of {@link Slerp}.
   */
  float[] coefficients(int models) {
    double sum = weights.isEmpty() ? models : sum(weights);
    float[] coefficients = new float[models];
    for (int i = 0; i < models; i++) {
      double weight = weights.isEmpty() ? 1 : weights.get(i);
      coefficients[i] =
          (float)
              switch (method) {
                case LINEAR -> normalize ? weight / sum : weight;
                case SLERP -> i == 0 ? 1 - t : t;
                case TASK_ARITHMETIC -> lambda * weight;
                case TIES -> weight;
                case DARE -> lambda * weight / density;
              };
      requireFinite(coefficients[i], "factor");
    }
    return coefficients;
  }

  /** How many elements of a task vector TIES trims: floor((1 - density) n). */
  long trimmed(long elements) {
    return SmallestSelection.share(BigDecimal.ONE.subtract(BigDecimal.valueOf(density)), elements);
  }

  /** What merges one tensor. */
  TensorMerge start(MergeTensor tensor) {
    return switch (method) {
      case LINEAR, TASK_ARITHMETIC -> new WeightedSum(coefficients(tensor.models()));
      case SLERP -> new Slerp(this, tensor);
      case TIES -> new Ties(this, tensor);
      case DARE -> new Dare(this, tensor);
    };
  }
}
