package dev.sinew.model;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a checkpoint that is about to be written will hold.
 *
 * @param outputs the tensors to write, in their order, by the name of the input tensor that they
 *     come from: a quantized {@code T} and its scales all stand under {@code T}. Writers of several
 *     files keep together what comes from one tensor.
 * @param metadata the string metadata
 */
public record CheckpointPlan(Map<String, List<TensorInfo>> outputs, Map<String, String> metadata) {
  public CheckpointPlan {
    outputs = Collections.unmodifiableMap(outputs);
    metadata = Collections.unmodifiableMap(metadata);
  }

  /** A plan for the tensors of a checkpoint as they are. */
  public static CheckpointPlan copyOf(Checkpoint input, Map<String, String> metadata) {
    Map<String, List<TensorInfo>> outputs = new LinkedHashMap<>();
    input.tensors().forEach((name, tensor) -> outputs.put(name, List.of(tensor)));
    return new CheckpointPlan(outputs, metadata);
  }

  /** All tensors to write, in their order. */
  public List<TensorInfo> tensors() {
    List<TensorInfo> tensors = new ArrayList<>(outputs.size());
    outputs.values().forEach(tensors::addAll);
    return tensors;
  }
}
