package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Tensor;
import dev.sinew.model.CheckpointException;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which tensors go where, and what is said of those that do not. */
class LoadingTest {
  /** A network of one's own: named parts, parameters, and something that training left behind. */
  private static final class Net extends Layer {
    final Linear hidden = child("hidden", new Linear(3, 2));
    final Parameter scale = parameter("scale", 2);

    Net() {
      ignore("step");
    }

    @Override
    public Tensor forward(Tensor x, Arena arena) {
      return hidden.forward(x, arena);
    }
  }

  private static MemoryCheckpoint checkpoint(String prefix) {
    return new MemoryCheckpoint()
        .at("net.pt")
        .add(prefix + "hidden.weight", DType.F32, new double[] {1, 0, 0, 0, 1, 0}, 2, 3)
        .add(prefix + "hidden.bias", DType.BF16, new double[] {0.5, -1}, 2)
        .add(prefix + "scale", DType.F64, new double[] {3, 4}, 2);
  }

  private static float[] run(Layer net) {
    try (Arena arena = new Arena();
        Tensor x = Tensor.of(new float[] {10, 20, 30}, 1, 3)) {
      return net.forward(x, arena).toFloats();
    }
  }

  private static String message(Module module, MemoryCheckpoint model, LoadOptions options) {
    return assertThrows(CheckpointException.class, () -> module.load(model, options)).getMessage();
  }

  @Test
  void byNames() throws IOException {
    MemoryCheckpoint model = checkpoint("").add("step", DType.I64, new double[] {7});
    try (Net net = new Net()) {
      LoadReport report = net.load(model);
      model.close();
      assertArrayEquals(new float[] {10.5f, 19}, run(net));
      assertArrayEquals(new float[] {3, 4}, net.scale.value().toFloats());
      assertEquals(List.of(), report.missing());
      assertEquals(List.of(), report.leftOver());
      assertEquals(24 + 4 + 16, report.storedBytes());
      assertEquals(net.bytes(), report.bytes());
      assertTrue(report.bytes() >= 24 + 8 + 8);
    }
  }

  @Test
  void prefixesAreStrippedOnRequest() throws IOException {
    MemoryCheckpoint model = checkpoint("state_dict.module.");
    try (Net net = new Net()) {
      assertEquals(
          "'net.pt' does not fit the module: it lacks 'scale', 'hidden.weight', 'hidden.bias'; it"
              + " has 'state_dict.module.hidden.weight', 'state_dict.module.hidden.bias',"
              + " 'state_dict.module.scale' besides; strip a prefix from its names, or load"
              + " leniently if that is intended",
          message(net, model, LoadOptions.strict()));
      net.load(model, LoadOptions.strict().stripping("state_dict.").stripping("module."));
      assertArrayEquals(new float[] {10.5f, 19}, run(net));
    }
  }

  @Test
  void namesAreChosenByAFunction() throws IOException {
    MemoryCheckpoint model =
        checkpoint("a.").add("optimizer.state", DType.F32, new double[] {1}, 1);
    LoadOptions options =
        LoadOptions.strict()
            .naming(name -> name.startsWith("optimizer.") ? null : name)
            .naming(name -> name.substring(2));
    try (Net net = new Net()) {
      net.load(model, options);
      assertArrayEquals(new float[] {10.5f, 19}, run(net));
    }
    try (Net net = new Net()) {
      assertEquals(
          "'net.pt' cannot be loaded: 'a.hidden.weight' and 'a.hidden.bias' both become 'one';"
              + " choose names that keep them apart",
          message(net, checkpoint("a."), LoadOptions.strict().naming(name -> "one")));
    }
  }

  @Test
  void whatIsMissingOrLeftOverIsListed() throws IOException {
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .at("net.pt")
            .add("hidden.weight", DType.F32, new double[6], 2, 3)
            .add("head.weight", DType.F32, new double[6], 2, 3)
            .add("evil\nname", DType.F32, new double[1], 1);
    try (Net net = new Net()) {
      assertEquals(
          "'net.pt' does not fit the module: it lacks 'scale', 'hidden.bias'; it has 'head.weight',"
              + " 'evil\\u000aname' besides; strip a prefix from its names, or load leniently if"
              + " that is intended",
          message(net, model, LoadOptions.strict()));
      LoadReport report = net.load(model, LoadOptions.lenient());
      assertEquals(List.of("scale", "hidden.bias"), report.missing());
      assertEquals(List.of("head.weight", "evil\nname"), report.leftOver());
      IllegalStateException e = assertThrows(IllegalStateException.class, () -> run(net));
      assertEquals(
          "the module was loaded without 'hidden.bias', which the checkpoint lacks",
          e.getMessage());
    }
  }

  @Test
  void longListsAreCut() throws IOException {
    try (Sequential net = new Sequential()) {
      for (int i = 0; i < 500; i++) {
        net.add("layer" + i, new Linear(1, 1, false));
      }
      assertEquals(
          "'net.pt' does not fit the module: it lacks 'layer0.weight', 'layer1.weight',"
              + " 'layer2.weight', 'layer3.weight', 'layer4.weight' and 495 more; strip a prefix"
              + " from its names, or load leniently if that is intended",
          message(net, new MemoryCheckpoint().at("net.pt"), LoadOptions.strict()));
    }
  }

  @Test
  void otherShapesAreAlwaysAnError() {
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .at("net.pt")
            .add("hidden.weight", DType.F32, new double[6], 3, 2)
            .add("hidden.bias", DType.F32, new double[2], 2)
            .add("scale", DType.F32, new double[2], 1, 2);
    try (Net net = new Net()) {
      assertEquals(
          "'net.pt' does not fit the module: 'scale' is [1, 2] instead of [2], 'hidden.weight' is"
              + " [3, 2] instead of [2, 3]; build the module with the sizes of the checkpoint",
          message(net, model, LoadOptions.lenient()));
    }
  }

  @Test
  void integersWithoutScalesAreNoWeights() {
    for (String name : List.of("hidden.weight", "scale")) {
      MemoryCheckpoint model = checkpoint("");
      long[] shape = name.equals("scale") ? new long[] {2} : new long[] {2, 3};
      int elements = shape.length == 1 ? 2 : 6;
      model.add(name, DType.I8, new double[elements], shape);
      try (Net net = new Net()) {
        assertEquals(
            "'net.pt' cannot be loaded: '" + name + "' is I8, not floating as weights are",
            message(net, model, LoadOptions.strict()));
      }
    }
  }

  @Test
  void aModuleIsLoadedOnce() throws IOException {
    try (Net net = new Net()) {
      assertEquals(
          "the module has no weights; load a checkpoint first",
          assertThrows(IllegalStateException.class, () -> run(net)).getMessage());
      // A failure leaves it as it was.
      MemoryCheckpoint broken = checkpoint("");
      broken.hook(
          (tensor, offset, bytes) -> {
            if (tensor.equals("hidden.weight")) {
              throw new IOException("broken");
            }
          });
      assertThrows(IOException.class, () -> net.load(broken));
      net.load(checkpoint(""));
      assertThrows(IllegalStateException.class, () -> net.load(checkpoint("")));
      assertThrows(IllegalStateException.class, () -> net.hidden.load(checkpoint("")));
      assertThrows(IllegalStateException.class, () -> net.child("late", new Flatten()));
      assertThrows(IllegalStateException.class, () -> net.hidden.fuse(new BatchNorm(2)));
      assertArrayEquals(new float[] {10.5f, 19}, run(net));
    }
  }

  @Test
  void namesAndModulesBelongToOneParent() {
    try (Net net = new Net();
        Linear other = new Linear(1, 1)) {
      assertThrows(IllegalArgumentException.class, () -> net.child("hidden", other));
      assertThrows(IllegalArgumentException.class, () -> net.parameter("hidden", 1));
      assertThrows(IllegalArgumentException.class, () -> net.weight("scale", 1, 1));
      assertThrows(IllegalArgumentException.class, () -> net.child("", other));
      assertThrows(IllegalArgumentException.class, () -> net.child("again", net.hidden));
      assertEquals("[hidden]", net.children().keySet().toString());
    }
    assertThrows(IllegalArgumentException.class, () -> new Linear(0, 1));
  }

  @Test
  void closingClosesEverything() throws IOException {
    Net net = new Net();
    net.load(checkpoint(""));
    net.close();
    net.close();
    assertTrue(net.scale.value().isClosed());
    assertThrows(IllegalStateException.class, () -> run(net));
  }

  @Test
  void closingDuringACallIsRefused() throws IOException {
    Net net = new Net();
    net.load(checkpoint(""));
    net.scale
        .value()
        .withBuffer(0, 4, buffer -> assertThrows(IllegalStateException.class, net::close));
    assertFalse(net.scale.value().isClosed());
    net.close();
    assertTrue(net.scale.value().isClosed());
  }
}
