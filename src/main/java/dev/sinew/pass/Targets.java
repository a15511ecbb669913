package dev.sinew.pass;

import dev.sinew.model.TensorInfo;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Which tensors passes touch.
 *
 * <p>Touched are floating tensors of two or more dimensions that are weights by name ({@code
 * *.weight}, {@code *.weight_*} or plainly {@code weight}), except embeddings, norms and {@code
 * lm_head}; and those that match one of {@code targets}, which also overrides the exceptions. What
 * matches one of {@code skips} is never touched. Patterns are globs: {@code *} any characters, dots
 * included, {@code ?} one.
 *
 * <p>With {@code layers} only the weights of Linear layers are touched: those of the architecture,
 * and matrices that match one of {@code targets}. Embeddings, norms and {@code lm_head} are not,
 * whatever the targets say.
 *
 * @param layers the Linear layers to choose from, or null for the choice by name and shape
 */
public record Targets(List<String> targets, List<String> skips, LinearLayers layers) {
  static final String LM_HEAD = "lm_head";

  private static final Pattern WORDS = Pattern.compile("[^\\p{L}]+|(?<=\\p{Ll})(?=\\p{Lu})");

  public Targets {
    targets = List.copyOf(targets);
    skips = List.copyOf(skips);
  }

  /** The choice by name and shape. */
  public Targets(List<String> targets, List<String> skips) {
    this(targets, skips, null);
  }

  /** The same patterns for the choice of Linear layers. */
  public Targets of(LinearLayers linear) {
    return new Targets(targets, skips, linear);
  }

  /** The default choice, by name and shape alone. */
  public static Targets byDefault() {
    return new Targets(List.of(), List.of());
  }

  /** Why a tensor is left as it is, or empty if passes touch it. */
  public Optional<String> reasonToSkip(TensorInfo tensor) {
    String name = tensor.name();
    for (String skip : skips) {
      if (Glob.matches(skip, name)) {
        return Optional.of("matches --skip " + skip);
      }
    }
    if (!tensor.dtype().isFloating()) {
      return Optional.of("type " + tensor.dtype() + " is not F64, F32, F16 or BF16");
    }
    if (tensor.shape().size() < 2) {
      return Optional.of("fewer than two dimensions");
    }
    if (tensor.elements() == 0) {
      return Optional.of("no elements");
    }
    boolean named = targets.stream().anyMatch(target -> Glob.matches(target, name));
    if (layers != null) {
      return reasonNotLinear(tensor, named);
    }
    if (named) {
      return Optional.empty();
    }
    if (!(name.endsWith(".weight") || name.contains(".weight_") || name.equals("weight"))) {
      return Optional.of("not a weight by its name");
    }
    return kind(name);
  }

  private Optional<String> reasonNotLinear(TensorInfo tensor, boolean named) {
    if (tensor.shape().size() > 2) {
      return Optional.of("more than two dimensions, so not a Linear layer");
    }
    if (!tensor.name().endsWith(".weight")) {
      return Optional.of("not a weight by its name");
    }
    Optional<String> kind = kind(tensor.name());
    if (kind.isPresent() || named || layers.contains(tensor.name())) {
      return kind;
    }
    return Optional.of(layers.reason());
  }

  /** What a weight is by its name if it is one of those that are left alone. */
  static Optional<String> kind(String name) {
    // The token embedding of T5 and BART, which encoder and decoder share.
    if (name.equals("shared.weight") || name.equals("model.shared.weight")) {
      return Optional.of("embedding");
    }
    for (String part : name.toLowerCase(Locale.ROOT).split("\\.")) {
      if (part.equals(LM_HEAD)) {
        return Optional.of(LM_HEAD);
      }
      if (part.contains("embed")
          || part.endsWith("emb")
          || part.equals("wte")
          || part.equals("wpe")
          || part.equals("relative_attention_bias")) {
        return Optional.of("embedding");
      }
      if (part.equals("ln") || part.startsWith("ln_") || part.matches("ln\\d+|bn\\d*")) {
        return Optional.of("norm");
      }
    }
    return hasNorm(name) ? Optional.of("norm") : Optional.empty();
  }

  // Words are runs of letters, and begin anew where a capital follows a small letter: layer_norm,
  // LayerNorm, RMSNorm, norm1 and batch_normalization have one that says norm; enormous, abnormal
  // and surface_normals do not.
  private static boolean hasNorm(String name) {
    for (String word : WORDS.split(name)) {
      String lower = word.toLowerCase(Locale.ROOT);
      if (lower.endsWith("norm")
          || lower.endsWith("norms")
          || lower.contains("normaliz")
          || lower.contains("normalis")
          || lower.startsWith("norm") && !lower.startsWith("normal")) {
        return true;
      }
    }
    return false;
  }

  /**
   * Those patterns that match none of these names, written as options of the command line: a
   * spelling mistake, most likely, that passes cannot notice.
   */
  public List<String> unmatched(Collection<String> names) {
    List<String> found = new ArrayList<>(Glob.unmatched("--targets", targets, names));
    found.addAll(Glob.unmatched("--skip", skips, names));
    return found;
  }
}
