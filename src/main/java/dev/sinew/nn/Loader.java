package dev.sinew.nn;

import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/** Finds the tensors of a module in a checkpoint, and loads them. */
final class Loader {
  private static final int LISTED = 5; // names in an error, of each kind

  private final Module module;
  private final Checkpoint checkpoint;
  private final LoadOptions options;
  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final Map<String, Module> modules = new LinkedHashMap<>();

  Loader(Module module, Checkpoint checkpoint, LoadOptions options) {
    this.module = module;
    this.checkpoint = checkpoint;
    this.options = options;
    collect("", module);
  }

  private void collect(String prefix, Module part) {
    modules.put(prefix, part);
    part.slots().forEach((name, slot) -> slots.put(prefix + name, slot));
    part.children().forEach((name, child) -> collect(prefix + name + ".", child));
  }

  LoadReport load() throws IOException {
    StateDict dict = new StateDict(checkpoint, options);
    List<String> missing = new ArrayList<>();
    List<String> misfits = new ArrayList<>();
    Set<String> leftOver = new LinkedHashSet<>(dict.names());
    slots.forEach(
        (name, slot) -> {
          leftOver.remove(name);
          List<Long> shape = dict.shape(name);
          if (slot instanceof Slot.Ignored) {
            return;
          }
          if (shape == null) {
            missing.add(name);
          } else if (!shape.equals(slot.shape())) {
            misfits.add(
                Messages.quote(name)
                    + " is "
                    + Messages.brief(shape.toString())
                    + " instead of "
                    + slot.shape());
          }
        });
    requireFit(missing, List.copyOf(leftOver), misfits);
    try {
      for (Map.Entry<String, Slot> entry : slots.entrySet()) {
        String name = entry.getKey();
        entry.getValue().name(name);
        if (entry.getValue() instanceof Parameter parameter && dict.shape(name) != null) {
          parameter.read(dict, name, options);
        }
      }
      for (Module part : modules.values()) {
        part.loadWeights(dict, options);
      }
    } catch (IOException | RuntimeException | Error e) {
      unload(e);
      throw e;
    }
    return new LoadReport(
        missing,
        List.copyOf(leftOver),
        dict.storedBytes(),
        module.bytes(),
        dict.readSeconds(),
        dict.packSeconds());
  }

  private void unload(Throwable failure) {
    try {
      module.close();
    } catch (RuntimeException e) {
      failure.addSuppressed(e);
    }
  }

  private void requireFit(List<String> missing, List<String> leftOver, List<String> misfits)
      throws CheckpointException {
    List<String> problems = new ArrayList<>();
    if (options.requireAll() && !missing.isEmpty()) {
      problems.add("it lacks " + list(missing, Messages::quote));
    }
    if (options.requireAll() && !leftOver.isEmpty()) {
      problems.add("it has " + list(leftOver, Messages::quote) + " besides");
    }
    if (!misfits.isEmpty()) {
      problems.add(list(misfits, UnaryOperator.identity()));
    }
    if (!problems.isEmpty()) {
      throw new CheckpointException(
          Messages.quote(checkpoint.path())
              + " does not fit the module: "
              + String.join("; ", problems)
              + (misfits.isEmpty()
                  ? "; strip a prefix from its names, or load leniently if that is intended"
                  : "; build the module with the sizes of the checkpoint"));
    }
  }

  // The first few, and how many more there are.
  private static String list(List<String> items, UnaryOperator<String> show) {
    String listed = items.stream().limit(LISTED).map(show).collect(Collectors.joining(", "));
    int more = items.size() - LISTED;
    return more > 0 ? listed + " and " + more + " more" : listed;
  }
}
