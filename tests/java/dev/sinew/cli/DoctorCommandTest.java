package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.Device;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class DoctorCommandTest extends CommandLineTest {
  @Test
  void saysWhatWasFound() {
    Map<String, Object> json = run("doctor", "--json").ok().json();
    assertEquals(
        "[usable, problem, sinew_version, os, java_version, java_vm, java_home, processor, isa,"
            + " isa_reason, blas, gpus, gpu_problem, cublaslt, cudnn, nccl, processors, processors_usable, processors_cgroup_limit,"
            + " threads, native_library, huge_pages, memory_bytes, memory_available_bytes,"
            + " memory_cgroup_limit_bytes, java_heap_limit_bytes]",
        json.keySet().toString());
    assertEquals(true, json.get("usable"));
    assertEquals(Device.isa(), json.get("isa"));
    assertEquals(Device.blas(), json.get("blas"));
    assertEquals((long) Device.cpu().threads(), json.get("threads"));
    assertTrue(Files.exists(Path.of((String) json.get("native_library"))));
    String text = run("doctor").ok().out();
    assertTrue(text.contains(Device.isa() + ": "), text);
    assertTrue(text.contains("libsinew.so"), text);
  }

  @Test
  void saysWhichDriverAndWhichCodeGpusHave() throws Exception {
    Path plugin = Path.of(System.getProperty("sinew.test.cuda", ""));
    Assumptions.assumeTrue(Files.exists(plugin), "there is no " + plugin);
    ChildJvm.Result result =
        ChildJvm.run(Main.class, List.of("-Dsinew.cuda=" + plugin), "doctor", "--json");
    assertEquals(0, result.exit(), result.output());
    String gpu = (String) ((List<?>) JsonText.object(result.output()).get("gpus")).get(0);
    assertTrue(gpu.matches(".+, compute capability \\d+\\.\\d, .+, .+, .+"), gpu);
    assertTrue(gpu.matches(".+, driver ([0-9.]+ )?for CUDA \\d+\\.\\d, .+"), gpu);
    assertTrue(
        gpu.matches(".+, (machine code for|PTX of) \\d+\\.\\d[af]?(, which the driver compiles)?"),
        gpu);
  }

  @Test
  void explainsALibraryThatCannotBeLoaded() throws IOException, InterruptedException {
    // Loading is once a JVM, so this takes another one.
    for (String option : new String[] {"", "--json"}) {
      Process process =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-cp",
                  System.getProperty("java.class.path"),
                  "-Dsinew.library.path=" + folder,
                  "dev.sinew.cli.Main",
                  "doctor",
                  option.isEmpty() ? "--verbose" : option)
              .redirectError(path("err").toFile())
              .start();
      String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertEquals(1, process.waitFor());
      String err = Files.readString(path("err"));
      assertTrue(err.startsWith("sinew: sinew.library.path names '" + folder), err);
      assertEquals(1, err.lines().count(), err);
      if (option.isEmpty()) {
        assertTrue(out.contains("cannot be loaded: sinew.library.path names"), out);
      } else {
        Map<String, Object> json = JsonText.object(out);
        assertEquals(false, json.get("usable"));
        assertFalse(((String) json.get("problem")).isEmpty());
      }
    }
  }
}
