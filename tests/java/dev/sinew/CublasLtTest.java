package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.Main;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Where cuBLASLt is found. Its place is taken by the library of the C++ tests that multiplies on
 * the CPU, as the GPU's is.
 */
class CublasLtTest {
  private static final String RESOURCE = "org/bytedeco/cuda/linux-x86_64/libcublasLt.so.13";

  @TempDir Path folder;
  private Path plugin;
  private Path stub;

  @BeforeEach
  void requireLibraries() {
    plugin = Path.of(System.getProperty("sinew.test.cuda", ""));
    stub = plugin.resolveSibling("libsinew_lt_stub.so");
    Assumptions.assumeTrue(Files.exists(plugin), "there is no " + plugin);
    Assumptions.assumeTrue(Files.exists(stub), "there is no " + stub);
  }

  /** Prints what computes products at first, and after each product of n x n matrices. */
  static final class Multiply {
    public static void main(String[] arguments) {
      Device gpu = Device.cuda(0);
      System.out.println("> " + Device.cublasLt());
      for (String argument : arguments) {
        int n = Integer.parseInt(argument);
        float[] ones = new float[n * n];
        java.util.Arrays.fill(ones, 1);
        try (Tensor host = Tensor.of(ones, n, n);
            Tensor a = host.to(gpu);
            Tensor y = Tensor.allocate(gpu, DType.F32, n, n)) {
          Functional.matmul(a, a, false, y);
          for (float element : y.toFloats()) {
            assertEquals(n, element);
          }
        }
        System.out.println("> " + Device.cublasLt());
      }
    }
  }

  private List<String> multiply(List<String> options, String... sizes) throws Exception {
    return lines(Multiply.class, List.of(), options, sizes);
  }

  private List<String> lines(
      Class<?> program, List<String> launcher, List<String> options, String... arguments)
      throws Exception {
    List<String> all = new ArrayList<>(options);
    all.add("-Dsinew.cuda=" + plugin);
    all.add("-Dorg.bytedeco.javacpp.cachedir=" + folder.resolve("cache"));
    ChildJvm.Result result = ChildJvm.runUnder(launcher, program, all, arguments);
    assertEquals(0, result.exit(), result.output());
    return result.output().lines().filter(line -> line.startsWith("> ")).toList();
  }

  // The boot loader, which other loaders ask first, stands for the class path.
  private String jarOnTheClassPath() throws IOException {
    Path jar = folder.resolve("cuda redist.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      out.putNextEntry(new JarEntry(RESOURCE));
      Files.copy(stub, out);
    }
    return "-Xbootclasspath/a:" + jar;
  }

  private List<String> extracted() throws IOException {
    if (!Files.exists(folder.resolve("cache"))) {
      return List.of();
    }
    try (Stream<Path> files = Files.walk(folder.resolve("cache"))) {
      return files
          .filter(Files::isRegularFile)
          .map(file -> file.getFileName().toString())
          .filter(name -> !name.equals(".lock"))
          .toList();
    }
  }

  @Test
  void theClassPathsIsExtractedByTheFirstLargeProduct() throws Exception {
    String option = jarOnTheClassPath();
    String promise =
        "> cuBLASLt, which the first large product will extract from "
            + folder.resolve("cuda redist.jar");
    assertEquals(List.of(promise, promise), multiply(List.of(option), "63"));
    assertEquals(List.of(), extracted());
    List<String> lines = multiply(List.of(option), "63", "64", "63");
    assertEquals(List.of(promise, promise), lines.subList(0, 2));
    assertTrue(
        lines.get(2).startsWith("> cuBLASLt 13.0, " + folder.resolve("cache")), lines.get(2));
    assertTrue(lines.get(2).endsWith("/" + RESOURCE), lines.get(2));
    assertEquals(lines.get(2), lines.get(3));
    assertEquals(List.of("libcublasLt.so.13"), extracted());
  }

  @Test
  void thePropertyAndTheVariableComeFirst() throws Exception {
    String jar = jarOnTheClassPath();
    String named = "> cuBLASLt 13.0, " + stub;
    assertEquals(List.of(named, named), multiply(List.of(jar, "-Dsinew.cublaslt=" + stub), "64"));
    List<String> variable = List.of("env", "SINEW_CUBLASLT=" + stub);
    assertEquals(List.of(named, named), lines(Multiply.class, variable, List.of(jar), "64"));
    String none = "> Sinew, as no cuBLASLt was asked for";
    assertEquals(
        List.of(none, none),
        lines(Multiply.class, variable, List.of(jar, "-Dsinew.cublaslt=none"), "64"));
    assertEquals(List.of(), extracted());
  }

  @Test
  void whatCannotBeOpenedIsNotUsed() throws Exception {
    for (String name : List.of("/nowhere/libcublasLt.so.13", "libc.so.6")) {
      List<String> lines = multiply(List.of("-Dsinew.cublaslt=" + name), "64");
      assertTrue(lines.get(0).startsWith("> Sinew, as "), lines.get(0));
      assertTrue(lines.get(0).contains(name), lines.get(0));
      assertEquals(lines.get(0), lines.get(1));
    }
  }

  @Test
  void whatCannotBeExtractedIsNotUsed() throws Exception {
    Files.createDirectory(folder.resolve("cache"));
    Files.createFile(folder.resolve("cache/cuda redist.jar")); // where a folder is to be
    List<String> lines = multiply(List.of(jarOnTheClassPath()), "64");
    assertTrue(lines.get(1).startsWith("> Sinew, as cuBLASLt cannot be extracted: "), lines.get(1));
  }

  @Test
  void theDoctorSaysWhereItIs() throws Exception {
    ChildJvm.Result result =
        ChildJvm.run(
            Main.class, List.of("-Dsinew.cuda=" + plugin, "-Dsinew.cublaslt=" + stub), "doctor");
    assertEquals(0, result.exit(), result.output());
    assertTrue(
        result.output().contains("\nGPU products     cuBLASLt 13.0, " + stub + "\n"),
        result.output());
  }

  @Test
  void withoutItTheDoctorSaysWhatToAdd() throws Exception {
    Assumptions.assumeFalse(
        Files.exists(Path.of("/usr/local/cuda/lib64/libcublasLt.so.13")), "it is there");
    List<String> lines = multiply(List.of(), "64");
    Assumptions.assumeFalse(lines.get(0).startsWith("> cuBLASLt "), "it is there");
    assertEquals(
        "> Sinew, as cuBLASLt, which is faster, was not found: add org.bytedeco:cuda-redist-cublas"
            + " of CUDA 13, classifier linux-x86_64, to the class path, or install CUDA 13's cuBLAS",
        lines.get(0));
    assertEquals(lines.get(0), lines.get(1));
  }
}
