package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.io.TestModels;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** {@code --device}, in JVMs of their own, as a library of GPUs that was loaded stays. */
class DeviceOptionTest extends CommandLineTest {
  /** Runs the commands once for each of the devices, and prints what became of them. */
  static final class Program {
    public static void main(String[] arguments) {
      String in = arguments[0];
      Path folder = Path.of(in).getParent();
      for (int i = 1; i < arguments.length; i++) {
        String device = arguments[i];
        Path out = folder.resolve(device.replace(':', '_'));
        Path merged = folder.resolve("merged_" + out.getFileName());
        run(device, out, "optimize %s %s --prune sparsity=0.4 --quantize int8", in, out);
        run(device, merged, "merge %s %s.2 -o %s --method slerp", in, in, merged);
      }
    }

    private static void run(String device, Path out, String command, Object... arguments) {
      ByteArrayOutputStream printed = new ByteArrayOutputStream();
      Terminal terminal = new Terminal(printed, printed, false, false);
      String common = " --device " + device + " --report " + out + ".json";
      int status = Main.run(terminal, (command.formatted(arguments) + common).split(" "));
      System.out.println(device + " " + status + ": " + printed.toString(StandardCharsets.UTF_8));
    }
  }

  /** Runs commands for folders on the CPU and on the GPU. */
  static final class FolderProgram {
    private static final List<String> COMMANDS =
        List.of(
            "optimize IN/model OUT --quantize int4 --format compressed-tensors",
            "optimize IN/model OUT --quantize fp8 --format compressed-tensors --granularity tensor",
            "optimize IN/model OUT --quantize int8 --granularity group=32 --asymmetric",
            "optimize IN/model OUT --prune nm=2:4 --sparse-format bitmap",
            "merge IN/model IN/other -o OUT --method ties --base IN/base --density 0.3");

    public static void main(String[] arguments) {
      for (int i = 0; i < COMMANDS.size(); i++) {
        for (String device : List.of("cpu", "cuda")) {
          Path out = Path.of(arguments[0], device + i);
          String command = COMMANDS.get(i).replace("IN", arguments[0]).replace("OUT", "" + out);
          Program.run(device, out, command);
        }
      }
    }
  }

  private String run(String library, String... devices) throws Exception {
    Path in = TestCheckpoint.model().write(path("in.safetensors"));
    TestCheckpoint.model(2).write(path("in.safetensors.2"));
    String[] arguments = new String[devices.length + 1];
    arguments[0] = in.toString();
    System.arraycopy(devices, 0, arguments, 1, devices.length);
    ChildJvm.Result result =
        ChildJvm.run(Program.class, List.of("-Dsinew.cuda=" + library), arguments);
    assertEquals(0, result.exit(), result.output());
    return result.output();
  }

  private Map<String, Object> report(String name) throws Exception {
    return JsonText.object(Files.readString(path(name + ".json")));
  }

  private Object deviceOf(String name) throws Exception {
    return report(name).get("device");
  }

  private Object reasonOf(String name) throws Exception {
    return report(name).get("device_reason");
  }

  // The line about the device that the optimize (0) or merge (1) printed for --device of this name.
  private static String line(String printed, String device, int command) {
    String of = printed.split("(?m)^" + device + " 0: ", -1)[1 + command];
    return of.lines().filter(line -> line.startsWith("  device    ")).findFirst().orElseThrow();
  }

  @Test
  void withoutAGpuOnlyTheCpuAndAutoWork() throws Exception {
    String printed = run("none", "cpu", "auto", "cuda", "cuda:1");
    assertTrue(printed.contains("cpu 0: ") && printed.contains("auto 0: "), printed);
    String none = "no GPU can be used, as sinew.cuda is none";
    for (int command : new int[] {0, 1}) {
      String cpu = line(printed, "cpu", command);
      assertTrue(cpu.startsWith("  device    cpu (") && cpu.endsWith(")"), cpu);
      assertEquals(cpu + ": " + none, line(printed, "auto", command));
    }
    for (String prefix : List.of("", "merged_")) {
      assertEquals("cpu", deviceOf(prefix + "auto"));
      assertEquals(none, reasonOf(prefix + "auto"));
      assertNull(reasonOf(prefix + "cpu"));
    }
    String why = none + "; --device cpu computes on the";
    assertEquals(3, printed.split("cuda 1: sinew: " + why, -1).length, printed);
    assertEquals(3, printed.split("cuda:1 1: sinew: " + why, -1).length, printed);
    assertFalse(Files.exists(path("cuda")) || Files.exists(path("cuda_1")));
  }

  @Test
  void everyDeviceWritesTheSame() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    String printed = run(library, "cpu", "cuda", "cuda:0", "auto", "cuda:99");
    assertTrue(printed.contains("cuda:99 1: sinew: there is no GPU 99"), printed);
    for (String prefix : List.of("", "merged_")) {
      byte[] expected = Files.readAllBytes(path(prefix + "cpu"));
      for (String name : List.of(prefix + "cuda", prefix + "cuda_0", prefix + "auto")) {
        assertArrayEquals(expected, Files.readAllBytes(path(name)), name);
        assertEquals("cuda:0", deviceOf(name));
        assertEquals(
            name.endsWith("auto") ? "it is the first GPU that can be used" : null, reasonOf(name));
      }
    }
    assertFalse(Files.exists(path("cuda_99")));
  }

  @Test
  void everyDeviceWritesTheSameFolders() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    List<Path> models = List.of(path("model"), path("other"), path("base"));
    for (Path model : models) {
      TestModels.llama(model, models.indexOf(model));
    }
    ChildJvm.Result result =
        ChildJvm.run(FolderProgram.class, List.of("-Dsinew.cuda=" + library), folder.toString());
    assertEquals(0, result.exit(), result.output());
    for (int i = 0; i < FolderProgram.COMMANDS.size(); i++) {
      Path expected = path("cpu" + i);
      assertTrue(Files.exists(expected), result.output());
      assertEquals("cuda:0", deviceOf("cuda" + i));
      assertEquals(files(expected), files(path("cuda" + i)), result.output());
      assertTrue(files(expected).containsAll(TestModels.LLAMA_SHARDS), result.output());
      for (String file : files(expected)) {
        assertArrayEquals(
            Files.readAllBytes(expected.resolve(file)),
            Files.readAllBytes(path("cuda" + i).resolve(file)),
            FolderProgram.COMMANDS.get(i) + ": " + file);
      }
    }
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
