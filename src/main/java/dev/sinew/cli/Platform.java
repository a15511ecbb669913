package dev.sinew.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/**
 * What Linux says about the machine: the text files of /proc and /sys, under a root that tests
 * replace. What cannot be read is unknown, never an error.
 */
final class Platform {
  /** What a memory limit of version 1 of the cgroup interface says when there is none. */
  private static final long UNLIMITED = 1L << 60;

  private final Path root;

  Platform(Path root) {
    this.root = root;
  }

  static Platform system() {
    return new Platform(Path.of("/"));
  }

  /** The processor's name, for example {@code AMD EPYC 9654}. */
  String processorModel() {
    return field("proc/cpuinfo", "model name");
  }

  /** Logical processors of the machine; 0 if unknown. */
  int processors() {
    return (int) lines("proc/cpuinfo").stream().filter(l -> l.startsWith("processor")).count();
  }

  /** {@code always}, {@code madvise}, {@code never} or {@code unknown}. */
  String hugePages() {
    String text = text("sys/kernel/mm/transparent_hugepage/enabled");
    int open = text.indexOf('[');
    int close = text.indexOf(']');
    return open >= 0 && close > open ? text.substring(open + 1, close) : "unknown";
  }

  /** Bytes of memory in the machine. */
  OptionalLong memory() {
    return kilobytes("MemTotal");
  }

  /** Bytes that new work can take without swapping, as the kernel estimates. */
  OptionalLong availableMemory() {
    return kilobytes("MemAvailable");
  }

  /** The tightest limit in bytes that a cgroup of this process sets. */
  OptionalLong memoryLimit() {
    return cgroupFiles("memory.max", "memory/memory.limit_in_bytes").stream()
        .map(file -> text(file).strip())
        .filter(limit -> limit.matches("\\d{1,18}"))
        .mapToLong(Long::parseLong)
        .filter(limit -> limit < UNLIMITED)
        .min();
  }

  /** The tightest limit that a cgroup of this process sets, in processors. */
  OptionalDouble processorLimit() {
    List<Double> limits = new ArrayList<>();
    for (String file : cgroupFiles("cpu.max", "cpu/cpu.cfs_quota_us")) {
      String quota = text(file).strip();
      if (file.endsWith("cpu.cfs_quota_us")) {
        quota += " " + text("sys/fs/cgroup/cpu/cpu.cfs_period_us").strip();
      }
      String[] parts = quota.split(" ");
      if (parts.length == 2 && parts[0].matches("\\d{1,15}") && parts[1].matches("\\d{1,15}")) {
        limits.add(Double.parseDouble(parts[0]) / Double.parseDouble(parts[1]));
      }
    }
    return limits.stream().mapToDouble(Double::doubleValue).filter(l -> l > 0).min();
  }

  /** The files of this process's cgroup and its ancestors (version 2), and the one of version 1. */
  private List<String> cgroupFiles(String name, String version1) {
    List<String> files =
        new ArrayList<>(List.of("sys/fs/cgroup/" + name, "sys/fs/cgroup/" + version1));
    for (String line : lines("proc/self/cgroup")) {
      if (line.startsWith("0::/")) {
        for (Path group = Path.of(line.substring(4)); group != null; group = group.getParent()) {
          files.add("sys/fs/cgroup/" + group + "/" + name);
        }
      }
    }
    return files;
  }

  private OptionalLong kilobytes(String key) {
    String value = field("proc/meminfo", key).replace(" kB", "");
    return value.matches("\\d{1,15}")
        ? OptionalLong.of(Long.parseLong(value) * 1024)
        : OptionalLong.empty();
  }

  private String field(String file, String key) {
    for (String line : lines(file)) {
      int colon = line.indexOf(':');
      if (colon > 0 && line.substring(0, colon).strip().equals(key)) {
        return line.substring(colon + 1).strip();
      }
    }
    return "unknown";
  }

  private List<String> lines(String file) {
    return text(file).lines().toList();
  }

  private String text(String file) {
    try {
      return Files.readString(root.resolve(file));
    } catch (IOException e) {
      return "";
    }
  }
}
