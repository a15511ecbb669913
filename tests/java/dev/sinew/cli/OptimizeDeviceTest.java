package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** {@code optimize --device}, in JVMs of their own, as a library of GPUs that was loaded stays. */
class OptimizeDeviceTest extends CommandLineTest {
  /** Runs the command once for each of the devices, and prints what became of it. */
  static final class Program {
    public static void main(String[] arguments) throws Exception {
      Path in = Path.of(arguments[0]);
      for (int i = 1; i < arguments.length; i++) {
        String device = arguments[i];
        String out = in.resolveSibling(device.replace(':', '_')).toString();
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(printed, printed, false, false);
        int status =
            Main.run(
                terminal,
                ("optimize " + in + " " + out + " --prune sparsity=0.4 --quantize int8 --device ")
                    .concat(device + " --report " + out + ".json")
                    .split(" "));
        System.out.println(device + " " + status + ": " + printed.toString(StandardCharsets.UTF_8));
      }
    }
  }

  private String optimize(String library, String... devices) throws Exception {
    Path in = TestCheckpoint.model().write(path("in.safetensors"));
    String[] arguments = new String[devices.length + 1];
    arguments[0] = in.toString();
    System.arraycopy(devices, 0, arguments, 1, devices.length);
    ChildJvm.Result result =
        ChildJvm.run(Program.class, List.of("-Dsinew.cuda=" + library), arguments);
    assertEquals(0, result.exit(), result.output());
    return result.output();
  }

  private Object deviceOf(String name) throws Exception {
    Map<String, Object> report = JsonText.object(Files.readString(path(name + ".json")));
    return report.get("device");
  }

  @Test
  void withoutAGpuOnlyTheCpuAndAutoWork() throws Exception {
    String printed = optimize("none", "cpu", "auto", "cuda", "cuda:1");
    assertTrue(printed.contains("cpu 0: ") && printed.contains("auto 0: "), printed);
    assertTrue(printed.contains("  device    cpu ("), printed);
    String why = "no GPU can be used, as sinew.cuda is none; --device cpu computes on the";
    assertTrue(printed.contains("cuda 1: sinew: " + why), printed);
    assertTrue(printed.contains("cuda:1 1: sinew: " + why), printed);
    assertEquals("cpu", deviceOf("auto"));
    assertFalse(Files.exists(path("cuda")) || Files.exists(path("cuda_1")));
  }

  @Test
  void everyDeviceWritesTheSame() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    String printed = optimize(library, "cpu", "cuda", "cuda:0", "auto", "cuda:99");
    assertTrue(printed.contains("cuda:99 1: sinew: there is no GPU 99"), printed);
    for (String name : List.of("cuda", "cuda_0", "auto")) {
      assertArrayEquals(Files.readAllBytes(path("cpu")), Files.readAllBytes(path(name)), name);
      assertEquals("cuda:0", deviceOf(name));
    }
    assertFalse(Files.exists(path("cuda_99")));
  }

  @Test
  void otherDevicesAreWrongUsage() throws Exception {
    Path in = TestCheckpoint.model().write(path("in.safetensors"));
    for (String device : List.of("gpu", "cuda:", "cuda:-1", "cuda:1x", "CPU", "")) {
      run("optimize", in, path("out"), "--quantize", "int8", "--device", device)
          .failed(2, "--device takes cpu, cuda, cuda:N or auto, not '" + device + "'");
    }
  }
}
