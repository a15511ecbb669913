package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.Loader;

/** Runs a program in a JVM of its own, for what is decided when a JVM starts or ends it. */
public final class ChildJvm {
  private ChildJvm() {}

  /** Exit code, and what went to both outputs. */
  public record Result(int exit, String output) {}

  /** Runs the class with a heap of 64 MiB. */
  public static Result run(Class<?> program, List<String> options, String... arguments)
      throws IOException, InterruptedException {
    return runUnder(List.of(), program, options, arguments);
  }

  /** As {@link #run}, but by a program that the words of {@code launcher} call. */
  public static Result runUnder(
      List<String> launcher, Class<?> program, List<String> options, String... arguments)
      throws IOException, InterruptedException {
    String classPath = System.getProperty("java.class.path");
    return run(launcher, classPath, program, options, arguments);
  }

  /** As {@link #run}, but without the entries of the class path that contain {@code part}. */
  public static Result runWithout(
      String part, Class<?> program, List<String> options, String... arguments)
      throws IOException, InterruptedException {
    String classPath =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .filter(entry -> !entry.contains(part))
            .collect(Collectors.joining(File.pathSeparator));
    return run(List.of(), classPath, program, options, arguments);
  }

  private static Result run(
      List<String> launcher,
      String classPath,
      Class<?> program,
      List<String> options,
      String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(launcher);
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"));
    command.addAll(List.of("-Xmx64m", "-XX:-CreateCoredumpOnCrash"));
    command.add("-XX:ErrorFile=/dev/null");
    command.add("-Dorg.bytedeco.javacpp.cachedir=" + Loader.getCacheDir());
    command.addAll(options);
    command.addAll(List.of("-cp", classPath, program.getName()));
    command.addAll(Arrays.asList(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(process.waitFor(60, TimeUnit.SECONDS));
    return new Result(process.exitValue(), output);
  }
}
