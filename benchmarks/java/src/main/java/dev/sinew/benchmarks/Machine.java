package dev.sinew.benchmarks;

import dev.sinew.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.global.torch;

/** What a reader has to know about the machine to judge the figures. */
public final class Machine {
  private Machine() {}

  /** Label to value, in the order of the report. */
  public static Map<String, String> describe() throws IOException {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("CPU", cpu());
    facts.put("processors", Integer.toString(Device.availableProcessors()));
    facts.put("instruction set", Device.isa() + ": " + Device.isaReason());
    facts.put("memory", field("/proc/meminfo", "MemTotal"));
    facts.put("kernel", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    facts.put(
        "transparent huge pages",
        Files.readString(Path.of("/sys/kernel/mm/transparent_hugepage/enabled")).strip());
    facts.put(
        "JDK",
        System.getProperty("java.vm.name") + " " + System.getProperty("java.runtime.version"));
    facts.put("libtorch", String.valueOf(torch.class.getPackage().getImplementationVersion()));
    facts.put("revision", System.getProperty("sinew.benchmark.revision", "unknown"));
    facts.put("load average at start", Files.readString(Path.of("/proc/loadavg")).strip());
    return facts;
  }

  public static String cpu() throws IOException {
    return field("/proc/cpuinfo", "model name");
  }

  /** The CPU's name as part of a file name. */
  static String cpuSlug() throws IOException {
    return cpu()
        .toLowerCase(Locale.ROOT)
        .replaceAll("\\((r|tm)\\)", "")
        .replaceAll("@.*", "")
        .replaceAll("[^a-z0-9]+", "-")
        .replaceAll("^-|-$", "");
  }

  private static String field(String file, String name) throws IOException {
    return Files.readAllLines(Path.of(file)).stream()
        .filter(line -> line.startsWith(name))
        .map(line -> line.substring(line.indexOf(':') + 1).strip())
        .findFirst()
        .orElse("unknown");
  }
}
