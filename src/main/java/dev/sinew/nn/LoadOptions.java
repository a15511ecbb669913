package dev.sinew.nn;

import dev.sinew.Device;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * How a module takes its weights from a checkpoint.
 *
 * @param requireAll whether missing and left-over tensors are errors
 * @param names gives each tensor of the checkpoint its name in the module, or null if the module
 *     has nothing to do with it
 * @param int8 how int8 weights compute
 * @param device where weights live and are packed
 */
public record LoadOptions(
    boolean requireAll, UnaryOperator<String> names, Int8 int8, Device device) {
  /** How layers with int8 weights (one scale a tensor or a row) compute. */
  public enum Int8 {
    /**
     * Inputs are quantized to int8 on the fly, row by row or, of convolutions, image by image, and
     * products are summed as integers: the fastest. Other weights than int8 with such scales are
     * not affected.
     */
    DYNAMIC,
    /** Inputs stay floating: closer to the unquantized network, slower for large batches. */
    WEIGHT_ONLY
  }

  public LoadOptions {
    Objects.requireNonNull(names, "names");
    Objects.requireNonNull(int8, "int8");
    Objects.requireNonNull(device, "device");
  }

  // Where weights are before they are packed.
  Device host() {
    return device.isGpu() ? Device.cpu() : device;
  }

  // A tensor of the host on the device, as one of the scope if it had to be copied.
  Tensor onDevice(Tensor tensor, Scope scope) {
    return tensor == null || !device.isGpu() ? tensor : scope.add(tensor.to(device));
  }

  /** Names as they are, missing and left-over tensors are errors, on {@link Device#cpu()}. */
  public static LoadOptions strict() {
    return new LoadOptions(true, UnaryOperator.identity(), Int8.DYNAMIC, Device.cpu());
  }

  /** As {@link #strict}, but missing and left-over tensors are only reported. */
  public static LoadOptions lenient() {
    return new LoadOptions(false, UnaryOperator.identity(), Int8.DYNAMIC, Device.cpu());
  }

  /**
   * Takes a prefix off the names that have it, such as {@code model.} or {@code
   * state_dict.module.}; other names stay as they are.
   */
  public LoadOptions stripping(String prefix) {
    return naming(name -> name.startsWith(prefix) ? name.substring(prefix.length()) : name);
  }

  /**
   * Gives the names, as they are so far, others; null says that a tensor does not belong to the
   * module.
   */
  public LoadOptions naming(UnaryOperator<String> function) {
    UnaryOperator<String> before = names;
    UnaryOperator<String> both =
        name -> {
          String first = before.apply(name);
          return first == null ? null : function.apply(first);
        };
    return new LoadOptions(requireAll, both, int8, device);
  }

  /** Chooses how int8 weights compute. */
  public LoadOptions int8(Int8 choice) {
    return new LoadOptions(requireAll, names, choice, device);
  }

  /** Chooses the device of the weights. */
  public LoadOptions on(Device other) {
    return new LoadOptions(requireAll, names, int8, other);
  }
}
