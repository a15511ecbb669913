package dev.sinew.examples;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.Functional;
import dev.sinew.Tensor;
import dev.sinew.nn.Arena;
import dev.sinew.nn.Layer;
import dev.sinew.nn.Layout;
import dev.sinew.nn.Sequential;
import java.util.List;

/**
 * Three branches that see the neighbourhood of a pixel at different distances (dilations of 2, 3
 * and 5), joined by a 1x1 convolution and added to a shortcut (Liu et al. 2018, RFB Net).
 */
final class ReceptiveFieldBlock extends Layer {
  private static final Conv2dOptions POINT = Conv2dOptions.defaults();
  private static final Conv2dOptions SAME = POINT.padding(1);

  private final Sequential branch0;
  private final Sequential branch1;
  private final Sequential branch2;
  private final ConvNorm join;
  private final ConvNorm shortcut;

  ReceptiveFieldBlock(int channels) {
    int few = channels / 8;
    int twice = 2 * few;
    int more = few / 2 * 3;
    branch0 =
        child(
            "branch0",
            new Sequential(
                new ConvNorm(channels, few, 1, POINT, false),
                new ConvNorm(few, twice, 3, SAME, true),
                new ConvNorm(twice, twice, 3, POINT.padding(2).dilation(2), false)));
    branch1 =
        child(
            "branch1",
            new Sequential(
                new ConvNorm(channels, few, 1, POINT, false),
                new ConvNorm(few, twice, 3, SAME, true),
                new ConvNorm(twice, twice, 3, POINT.padding(3).dilation(3), false)));
    branch2 =
        child(
            "branch2",
            new Sequential(
                new ConvNorm(channels, few, 1, POINT, false),
                new ConvNorm(few, more, 3, SAME, true),
                new ConvNorm(more, twice, 3, SAME, true),
                new ConvNorm(twice, twice, 3, POINT.padding(5).dilation(5), false)));
    join = child("ConvLinear", new ConvNorm(3 * twice, channels, 1, POINT, false));
    shortcut = child("shortcut", new ConvNorm(channels, channels, 1, POINT, false));
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor a = branch0.forward(x, arena);
    Tensor b = branch1.forward(x, arena);
    Tensor c = branch2.forward(x, arena);
    Tensor all = Layout.concat(List.of(a, b, c), 1, arena);
    arena.release(a);
    arena.release(b);
    arena.release(c);
    Tensor y = join.forward(all, arena);
    arena.release(all);
    Tensor direct = shortcut.forward(x, arena);
    Functional.add(y, direct, y);
    Functional.activation(y, Activation.RELU, y);
    arena.release(direct);
    return y;
  }
}
