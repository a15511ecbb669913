package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What becomes of each tensor name.
 *
 * @param tensors in the order of the first model, then of the others
 */
record MergePlan(List<Planned> tensors) {
  private static final int NAMES_SHOWN = 3;

  // Values that nobody averages: positions, counters, masks.
  private static final Set<DType> INTEGERS =
      EnumSet.of(
          DType.I64,
          DType.I32,
          DType.I16,
          DType.I8,
          DType.U8,
          DType.BOOL,
          DType.U16,
          DType.U32,
          DType.U64);

  /**
   * One tensor.
   *
   * @param tensor as the output holds it, or as it is in the source if it is left out
   * @param source which checkpoint it is copied from
   * @param compare whether the other models have to be compared before it is copied
   * @param reason why it is not merged; null if it is
   */
  record Planned(
      TensorInfo tensor, MergeReport.Action action, int source, boolean compare, String reason) {}

  /**
   * Matches names, shapes and kinds of type.
   *
   * @param sources the models, then the base if there is one
   * @throws CheckpointException if shapes or kinds differ, or names do and the options say so
   */
  static MergePlan of(List<Checkpoint> sources, int models, Merger.Options options)
      throws CheckpointException {
    Map<String, Integer> firstSource = new LinkedHashMap<>();
    for (int s = 0; s < sources.size(); s++) {
      for (String name : sources.get(s).tensors().keySet()) {
        firstSource.putIfAbsent(name, s);
      }
    }
    Map<String, Integer> matched = new LinkedHashMap<>(firstSource);
    matched.keySet().removeIf(name -> options.skipping(name).isPresent());
    if (options.missing() == Merger.Missing.ERROR) {
      requireEqualShapes(sources, matched);
      requireAllNames(sources, matched);
    }
    List<Planned> planned = new ArrayList<>();
    for (Map.Entry<String, Integer> entry : firstSource.entrySet()) {
      planned.add(plan(sources, models, options, entry.getKey(), entry.getValue()));
    }
    boolean oneInCommon =
        firstSource.keySet().stream()
            .anyMatch(name -> sources.stream().allMatch(s -> s.tensors().containsKey(name)));
    if (!planned.isEmpty()
        && (!oneInCommon
            || planned.stream().allMatch(t -> t.action == MergeReport.Action.SKIPPED))) {
      throw new CheckpointException(
          "the models have no tensor in common: "
              + sources.stream()
                  .map(source -> Messages.quote(source.path()))
                  .collect(Collectors.joining(", "))
              + "; give models of one architecture");
    }
    return new MergePlan(planned);
  }

  private static Planned plan(
      List<Checkpoint> sources, int models, Merger.Options options, String name, int first) {
    TensorInfo tensor = sources.get(first).tensors().get(name);
    Optional<String> skip = options.skipping(name);
    if (skip.isPresent()) {
      return new Planned(
          tensor,
          first == 0 ? MergeReport.Action.COPIED : MergeReport.Action.SKIPPED,
          first,
          false,
          "matches --skip " + skip.get());
    }
    List<TensorInfo> having =
        sources.stream()
            .map(source -> source.tensors().get(name))
            .filter(Objects::nonNull)
            .toList();
    boolean fits = having.stream().allMatch(other -> fitTogether(tensor, other));
    if (!fits || having.size() < sources.size()) {
      boolean leftOut = options.missing() == Merger.Missing.SKIP;
      return new Planned(
          tensor,
          leftOut ? MergeReport.Action.SKIPPED : MergeReport.Action.COPIED,
          first,
          false,
          fits
              ? "only in " + having.size() + " of " + sources.size() + " checkpoints"
              : "shape or type differs between checkpoints");
    }
    if (tensor.dtype().isFloating()) {
      return new Planned(tensor, MergeReport.Action.MERGED, first, false, null);
    }
    // Bytes of different types cannot be compared; integers then come from the first anyway.
    boolean oneType =
        sources.subList(0, models).stream()
            .allMatch(source -> source.tensors().get(name).dtype() == tensor.dtype());
    String reason = tensor.dtype() + ", taken from the first model";
    return new Planned(tensor, MergeReport.Action.COPIED, 0, oneType, reason);
  }

  /** Whether models that differ in a tensor of this type make it one that cannot be merged. */
  static boolean mayDiffer(DType dtype) {
    return INTEGERS.contains(dtype);
  }

  private static void requireEqualShapes(List<Checkpoint> sources, Map<String, Integer> firstSource)
      throws CheckpointException {
    List<String> different = new ArrayList<>();
    int count = 0;
    for (Map.Entry<String, Integer> entry : firstSource.entrySet()) {
      TensorInfo first = sources.get(entry.getValue()).tensors().get(entry.getKey());
      for (Checkpoint source : sources.subList(entry.getValue() + 1, sources.size())) {
        TensorInfo other = source.tensors().get(entry.getKey());
        if (other != null && !fitTogether(first, other)) {
          count++;
          if (different.size() < NAMES_SHOWN) {
            different.add(
                Messages.quote(first.name())
                    + " is "
                    + describe(first)
                    + " in "
                    + Messages.quote(sources.get(entry.getValue()).path())
                    + " and "
                    + describe(other)
                    + " in "
                    + Messages.quote(source.path()));
          }
          break;
        }
      }
    }
    if (count > 0) {
      throw new CheckpointException(
          "the models do not fit together: "
              + String.join("; ", different)
              + more(count)
              + "; --missing skip leaves such tensors out, --missing copy takes them from the first"
              + " model, and --skip GLOB takes those of some names from it");
    }
  }

  // Integers of several types come from the first model, as those of one do.
  private static boolean fitTogether(TensorInfo a, TensorInfo b) {
    boolean sameKind =
        a.dtype() == b.dtype()
            || a.dtype().isFloating() && b.dtype().isFloating()
            || INTEGERS.contains(a.dtype()) && INTEGERS.contains(b.dtype());
    return sameKind && a.shape().equals(b.shape());
  }

  private static String describe(TensorInfo tensor) {
    return tensor.dtype() + " " + Messages.brief(tensor.shape().toString());
  }

  private static String more(int count) {
    return count > NAMES_SHOWN ? " and " + (count - NAMES_SHOWN) + " more" : "";
  }

  private static void requireAllNames(List<Checkpoint> sources, Map<String, Integer> firstSource)
      throws CheckpointException {
    List<String> problems = new ArrayList<>();
    for (Checkpoint source : sources) {
      List<String> absent =
          firstSource.keySet().stream()
              .filter(name -> !source.tensors().containsKey(name))
              .toList();
      if (!absent.isEmpty()) {
        problems.add(
            Messages.quote(source.path())
                + " lacks "
                + absent.stream()
                    .limit(NAMES_SHOWN)
                    .map(Messages::quote)
                    .collect(Collectors.joining(", "))
                + more(absent.size()));
      }
    }
    if (!problems.isEmpty()) {
      throw new CheckpointException(
          "the models do not hold the same tensors: "
              + String.join("; ", problems)
              + "; --missing skip leaves such tensors out, --missing copy takes them from the"
              + " first that has them");
    }
  }
}
