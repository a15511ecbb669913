package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PlatformTest {
  @TempDir Path root;

  private void file(String path, String text) throws IOException {
    Files.createDirectories(root.resolve(path).getParent());
    Files.writeString(root.resolve(path), text);
  }

  @Test
  void readsWhatLinuxSays() throws IOException {
    file("proc/cpuinfo", "processor\t: 0\nmodel name\t: A: B 9\n\nprocessor\t: 1\n");
    file("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:    500 kB\n");
    file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    Platform platform = new Platform(root);
    assertEquals("A: B 9", platform.processorModel());
    assertEquals(2, platform.processors());
    assertEquals(1_024_000, platform.memory().orElseThrow());
    assertEquals(512_000, platform.availableMemory().orElseThrow());
    assertEquals("madvise", platform.hugePages());
    assertTrue(platform.memoryLimit().isEmpty());
    assertTrue(platform.processorLimit().isEmpty());
  }

  @Test
  void theTightestLimitOfAllGroupsHolds() throws IOException {
    file("proc/self/cgroup", "0::/a/b\n");
    file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    file("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    file("sys/fs/cgroup/a/memory.max", "5000\n");
    file("sys/fs/cgroup/a/b/memory.max", "max\n");
    file("sys/fs/cgroup/memory.max", "7000\n");
    Platform platform = new Platform(root);
    assertEquals(1.5, platform.processorLimit().orElseThrow());
    assertEquals(5000, platform.memoryLimit().orElseThrow());
  }

  @Test
  void readsTheFirstVersionOfCgroups() throws IOException {
    file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assertEquals(0.5, new Platform(root).processorLimit().orElseThrow());
    assertTrue(new Platform(root).memoryLimit().isEmpty());
    file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assertTrue(new Platform(root).processorLimit().isEmpty());
  }

  @Test
  void whatIsMissingIsUnknown() {
    Platform platform = new Platform(root);
    assertEquals("unknown", platform.processorModel());
    assertEquals(0, platform.processors());
    assertEquals("unknown", platform.hugePages());
    assertTrue(platform.memory().isEmpty());
  }
}
