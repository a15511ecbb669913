package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.Main;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Where cuBLASLt and cuDNN are found. Their places are taken by the libraries of the C++ tests that
 * compute on the CPU, as the GPU's is.
 */
class GpuLibraryTest {
  private static final String FOLDER = "org/bytedeco/cuda/linux-x86_64/";

  /** A library, and the smallest operation that is for it. */
  enum Library {
    CUBLASLT("cuBLASLt", "13.0", "product", "libsinew_lt_stub.so", "libcublasLt.so.13") {
      @Override
      void compute(Device gpu, int size) {
        float[] ones = ones(size * size);
        try (Tensor host = Tensor.of(ones, size, size);
            Tensor a = host.to(gpu);
            Tensor y = Tensor.allocate(gpu, DType.F32, size, size)) {
          Functional.matmul(a, a, false, y);
          for (float element : y.toFloats()) {
            assertEquals(size, element);
          }
        }
      }
    },
    // libcudnn.so.9 looks for its parts where it lies.
    CUDNN(
        "cuDNN",
        "9.25",
        "convolution",
        "cudnn/libcudnn.so.9",
        "libcudnn.so.9",
        "libcudnn_cnn.so.9",
        "libcudnn_graph.so.9") {
      // 64 channels to 64 are 4096 multiplications at each of the size x 16 places.
      @Override
      void compute(Device gpu, int size) {
        try (Tensor image = Tensor.of(ones(64 * size * 16), 1, 64, size, 16);
            Tensor x = image.to(gpu);
            Tensor kernels = Tensor.of(ones(64 * 64), 64, 64, 1, 1);
            Tensor weight = kernels.to(gpu);
            PackedWeights packed = PackedWeights.dense(weight);
            Tensor y = Tensor.allocate(gpu, DType.F32, 1, 64, size, 16)) {
          Functional.conv2d(x, packed, 1, 1, null, Conv2dOptions.defaults(), Activation.NONE, y);
          for (float element : y.toFloats()) {
            assertEquals(64, element);
          }
        }
      }
    };

    final String title;
    final String version;
    final String operation;
    final String stub;
    final List<String> files;

    Library(String title, String version, String operation, String stub, String... files) {
      this.title = title;
      this.version = version;
      this.operation = operation;
      this.stub = stub;
      this.files = List.of(files);
    }

    abstract void compute(Device gpu, int size);

    String property() {
      return "sinew." + name().toLowerCase(java.util.Locale.ROOT);
    }

    String variable() {
      return "SINEW_" + name();
    }

    String description() {
      return this == CUBLASLT ? Device.cublasLt() : Device.cudnn();
    }

    static float[] ones(int count) {
      float[] ones = new float[count];
      Arrays.fill(ones, 1);
      return ones;
    }
  }

  @TempDir Path folder;
  private Path plugin;

  @BeforeEach
  void requireLibraries() {
    plugin = Path.of(System.getProperty("sinew.test.cuda", ""));
    Assumptions.assumeTrue(Files.exists(plugin), "there is no " + plugin);
    for (Library library : Library.values()) {
      Assumptions.assumeTrue(Files.exists(stub(library)), "there is no " + stub(library));
    }
  }

  private Path stub(Library library) {
    return plugin.resolveSibling(library.stub);
  }

  /** Prints what a library's operations are computed by, at first and after each of a size. */
  static final class Compute {
    public static void main(String[] arguments) {
      Library library = Library.valueOf(arguments[0]);
      Device gpu = Device.cuda(0);
      Supplier<String> line = () -> "> " + library.description();
      System.out.println(line.get());
      for (String size : List.of(arguments).subList(1, arguments.length)) {
        library.compute(gpu, Integer.parseInt(size));
        System.out.println(line.get());
      }
    }
  }

  private List<String> compute(Library library, List<String> options, String... sizes)
      throws Exception {
    return compute(library, List.of(), options, sizes);
  }

  private List<String> compute(
      Library library, List<String> launcher, List<String> options, String... sizes)
      throws Exception {
    List<String> all = new ArrayList<>(options);
    all.add("-Dsinew.cuda=" + plugin);
    all.add("-Dorg.bytedeco.javacpp.cachedir=" + folder.resolve("cache"));
    List<String> arguments = new ArrayList<>(List.of(library.name()));
    arguments.addAll(List.of(sizes));
    ChildJvm.Result result =
        ChildJvm.runUnder(launcher, Compute.class, all, arguments.toArray(String[]::new));
    assertEquals(0, result.exit(), result.output());
    return result.output().lines().filter(line -> line.startsWith("> ")).toList();
  }

  // The boot loader, which other loaders ask first, stands for the class path.
  private String jarOnTheClassPath(Library library) throws IOException {
    Path jar = folder.resolve("cuda redist.jar");
    try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
      for (String file : library.files) {
        out.putNextEntry(new JarEntry(FOLDER + file));
        boolean first = file.equals(library.files.get(0));
        Files.copy(first ? stub(library) : stub(library).resolveSibling(file), out);
      }
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
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @EnumSource
  void theClassPathsIsExtractedByTheFirstLargeOperation(Library library) throws Exception {
    String option = jarOnTheClassPath(library);
    String promise =
        "> %s, which the first large %s will extract from %s"
            .formatted(library.title, library.operation, folder.resolve("cuda redist.jar"));
    assertEquals(List.of(promise, promise), compute(library, List.of(option), "63"));
    assertEquals(List.of(), extracted());
    List<String> lines = compute(library, List.of(option), "63", "64", "63");
    assertEquals(List.of(promise, promise), lines.subList(0, 2));
    String used = lines.get(2);
    String found = "> " + library.title + " " + library.version + ", ";
    assertTrue(used.startsWith(found + folder.resolve("cache")), used);
    assertTrue(used.endsWith("/" + FOLDER + library.files.get(0)), used);
    assertEquals(used, lines.get(3));
    assertEquals(library.files, extracted());
  }

  @ParameterizedTest
  @EnumSource
  void thePropertyAndTheVariableComeFirst(Library library) throws Exception {
    String jar = jarOnTheClassPath(library);
    String property = "-D" + library.property() + "=";
    String named = "> " + library.title + " " + library.version + ", " + stub(library);
    assertEquals(
        List.of(named, named), compute(library, List.of(jar, property + stub(library)), "64"));
    List<String> variable = List.of("env", library.variable() + "=" + stub(library));
    assertEquals(List.of(named, named), compute(library, variable, List.of(jar), "64"));
    String none = "> Sinew, as no " + library.title + " was asked for";
    assertEquals(
        List.of(none, none), compute(library, variable, List.of(jar, property + "none"), "64"));
    assertEquals(List.of(), extracted());
  }

  @ParameterizedTest
  @EnumSource
  void whatCannotBeOpenedIsNotUsed(Library library) throws Exception {
    for (String name : List.of("/nowhere/" + library.files.get(0), "libc.so.6")) {
      List<String> lines = compute(library, List.of("-D" + library.property() + "=" + name), "64");
      assertTrue(lines.get(0).startsWith("> Sinew, as "), lines.get(0));
      assertTrue(lines.get(0).contains(name), lines.get(0));
      assertEquals(lines.get(0), lines.get(1));
    }
  }

  @Test
  void cudnnWithoutItsPartsDoesNotStart() throws Exception {
    Path alone = Files.copy(stub(Library.CUDNN), folder.resolve("libcudnn.so.9"));
    List<String> lines = compute(Library.CUDNN, List.of("-Dsinew.cudnn=" + alone), "64");
    assertEquals("> cuDNN 9.25, " + alone, lines.get(0));
    assertEquals(
        "> Sinew, as cuDNN 9.25, " + alone + " does not start: SUBLIBRARY_LOADING_FAILED",
        lines.get(1));
  }

  @ParameterizedTest
  @EnumSource
  void whatCannotBeExtractedIsNotUsed(Library library) throws Exception {
    Files.createDirectory(folder.resolve("cache"));
    Files.createFile(folder.resolve("cache/cuda redist.jar")); // where a folder is to be
    List<String> lines = compute(library, List.of(jarOnTheClassPath(library)), "64");
    String expected = "> Sinew, as " + library.title + " cannot be extracted: ";
    assertTrue(lines.get(1).startsWith(expected), lines.get(1));
  }

  @ParameterizedTest
  @EnumSource
  void theDoctorSaysWhereItIs(Library library) throws Exception {
    ChildJvm.Result result =
        ChildJvm.run(
            Main.class,
            List.of("-Dsinew.cuda=" + plugin, "-D" + library.property() + "=" + stub(library)),
            "doctor");
    assertEquals(0, result.exit(), result.output());
    String line =
        "\n%-16s %s %s, %s\n"
            .formatted(
                "GPU " + library.operation + "s", library.title, library.version, stub(library));
    assertTrue(result.output().contains(line), result.output());
  }

  @ParameterizedTest
  @EnumSource
  void withoutItTheDoctorSaysWhatToAdd(Library library) throws Exception {
    List<String> lines = compute(library, List.of(), "64");
    Assumptions.assumeFalse(lines.get(0).startsWith("> " + library.title), "it is there");
    String cublas = "cuda-redist-cublas of CUDA 13";
    String cudnn = "cuda-redist-cudnn of CUDA 13";
    assertEquals(
        "> Sinew, as %s, which is faster, was not found: add org.bytedeco:%s, classifier"
                .formatted(library.title, library == Library.CUBLASLT ? cublas : cudnn)
            + " linux-x86_64, to the class path, or install "
            + (library == Library.CUBLASLT ? "CUDA 13's cuBLAS" : "cuDNN 9 for CUDA 13"),
        lines.get(0));
    assertEquals(lines.get(0), lines.get(1));
  }
}
