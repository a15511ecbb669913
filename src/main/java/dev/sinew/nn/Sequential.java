package dev.sinew.nn;

import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Layers one after the other, named {@code 0}, {@code 1}, ... in the state dict unless they are
 * given names. Batch norms and activations are fused with the layers before them where that is
 * possible, and each activation's memory is used again as soon as the next layer has read it.
 */
public final class Sequential extends Layer {
  private final List<Layer> layers = new ArrayList<>();

  public Sequential(Layer... layers) {
    for (Layer layer : layers) {
      add(Integer.toString(size()), layer);
    }
  }

  /**
   * Appends a layer under a name of one's own, before loading.
   *
   * @return this
   */
  public Sequential add(String name, Layer layer) {
    child(name, layer);
    fuse(layer);
    layers.add(layer);
    return this;
  }

  // Gives a norm or activation to the layer that it follows.
  private void fuse(Layer layer) {
    int before = size() - 1;
    if (layer instanceof BatchNorm norm && !norm.isAbsorbed()) {
      if (before >= 0
          && layers.get(before) instanceof WeightedLayer weighted
          && weighted.canFuse()) {
        weighted.fuse(norm);
      }
    } else if (layer instanceof ActivationLayer activation && !activation.isAbsorbed()) {
      if (before > 0 && layers.get(before) instanceof BatchNorm norm && norm.isAbsorbed()) {
        before--;
      }
      if (before >= 0
          && layers.get(before) instanceof WeightedLayer weighted
          && !weighted.hasActivation()) {
        weighted.fuse(activation);
      }
    }
  }

  /** The number of layers. */
  public int size() {
    return layers.size();
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    return forward(x, 0, layers.size(), arena);
  }

  /**
   * Runs layers {@code [from, to)} only, for networks that take features from the middle.
   *
   * @throws IllegalArgumentException if there are no such layers, or a layer is separated from the
   *     norm or activation that is fused with it
   */
  public Tensor forward(Tensor x, int from, int to, Arena arena) {
    if (from < 0 || to < from || to > layers.size() || isFused(from) || isFused(to)) {
      throw new IllegalArgumentException(
          "layers ["
              + from
              + ", "
              + to
              + ") cannot be run alone: there are "
              + layers.size()
              + ", and some belong to the one before them");
    }
    Tensor y = x;
    for (int i = from; i < to; i++) {
      Tensor next = layers.get(i).forward(y, arena);
      if (next != y && y != x) {
        arena.release(y);
      }
      y = next;
    }
    return y;
  }

  private boolean isFused(int index) {
    if (index == layers.size()) {
      return false;
    }
    Layer layer = layers.get(index);
    return layer instanceof BatchNorm norm && norm.isAbsorbed()
        || layer instanceof ActivationLayer activation && activation.isAbsorbed();
  }

  @Override
  public String toString() {
    return "Sequential" + layers;
  }
}
