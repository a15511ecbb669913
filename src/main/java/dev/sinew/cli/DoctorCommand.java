package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.Device;
import dev.sinew.collective.Communicator;
import dev.sinew.internal.Messages;
import dev.sinew.internal.NativeLibrary;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.OptionalLong;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
    name = "doctor",
    description = "Says what Sinew found on this machine, and what is missing if it cannot run.")
final class DoctorCommand extends SinewCommand {
  @Option(names = "--json", description = "Print JSON; docs/cli.md describes the fields.")
  private boolean json;

  /** What the native code says about itself, or why there is none. */
  private record NativeFacts(
      String location,
      String isa,
      String reason,
      String blas,
      List<String> gpus,
      String gpuProblem,
      String cublasLt,
      String cudnn,
      String nccl,
      int processors,
      int threads,
      String problem) {
    static NativeFacts find() {
      try {
        NativeLibrary.load();
        List<String> gpus = List.of();
        String gpuProblem = null;
        String cublasLt = null;
        String cudnn = null;
        String nccl = null;
        try {
          gpus = Device.gpus();
          cublasLt = Device.cublasLt();
          cudnn = Device.cudnn();
          nccl = Communicator.ncclLibrary();
        } catch (UnsupportedOperationException e) {
          gpuProblem = Text.sentence(e.getMessage());
        }
        return new NativeFacts(
            NativeLibrary.location(),
            Device.isa(),
            Device.isaReason(),
            Device.blas(),
            gpus,
            gpuProblem,
            cublasLt,
            cudnn,
            nccl,
            Device.availableProcessors(),
            Device.cpu().threads(),
            null);
      } catch (LinkageError e) {
        return new NativeFacts(
            null,
            null,
            null,
            null,
            List.of(),
            null,
            null,
            null,
            null,
            0,
            0,
            Text.sentence(String.valueOf(e.getMessage())));
      }
    }
  }

  @Override
  public Integer call() throws IOException {
    NativeFacts facts = NativeFacts.find();
    if (json) {
      printJson(Platform.system(), facts);
    } else {
      print(Platform.system(), facts);
    }
    if (facts.problem() == null) {
      return Main.OK;
    }
    terminal().error(facts.problem());
    return Main.FAILURE;
  }

  private void print(Platform platform, NativeFacts facts) {
    line("sinew", RootCommand.Version.text());
    line("platform", os());
    line("Java", jvm());
    line("processor", platform.processorModel());
    if (facts.problem() == null) {
      line("instruction set", facts.isa() + ": " + Text.sentence(facts.reason()));
      line("matrix products", facts.blas());
      for (int i = 0; i < facts.gpus().size(); i++) {
        line("GPU " + i, facts.gpus().get(i));
      }
      if (facts.gpuProblem() != null) {
        line("GPU", facts.gpuProblem());
      }
      if (facts.cublasLt() != null) {
        line("GPU products", facts.cublasLt());
        line("GPU convolutions", facts.cudnn());
        line("GPU collectives", facts.nccl());
      }
      line(
          "processors",
          facts.processors()
              + " usable of "
              + platform.processors()
              + ", cgroup limit "
              + (platform.processorLimit().isPresent()
                  ? Text.fixed(platform.processorLimit().getAsDouble(), 2)
                  : "none"));
      line("threads", facts.threads() + " unless --threads says otherwise");
      line("native library", facts.location());
    } else {
      line("native library", "cannot be loaded: " + facts.problem());
    }
    line("huge pages", hugePages(platform.hugePages()));
    line(
        "memory",
        size(platform.availableMemory(), "unknown")
            + " available of "
            + size(platform.memory(), "unknown")
            + ", cgroup limit "
            + size(platform.memoryLimit(), "none")
            + ", Java heap up to "
            + Text.bytes(Runtime.getRuntime().maxMemory()));
  }

  private void line(String what, String value) {
    PrintWriter out = terminal().out();
    out.printf("%-16s %s%n", what, Messages.printable(value));
  }

  private static String hugePages(String mode) {
    return switch (mode) {
      case "always", "madvise" -> mode + ": large tensors use them";
      case "never" ->
          "never: large tensors are slower; allow them with"
              + " 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root";
      default -> mode;
    };
  }

  private static String os() {
    return System.getProperty("os.name")
        + " "
        + System.getProperty("os.version")
        + ", "
        + System.getProperty("os.arch");
  }

  private static String jvm() {
    return Runtime.version()
        + ", "
        + System.getProperty("java.vm.name")
        + ", "
        + System.getProperty("java.home");
  }

  private static String size(OptionalLong bytes, String none) {
    return bytes.isPresent() ? Text.bytes(bytes.getAsLong()) : none;
  }

  private void printJson(Platform platform, NativeFacts facts) throws IOException {
    PrintWriter out = terminal().out();
    try (JsonGenerator generator = Json.to(out)) {
      generator.writeStartObject();
      generator.writeBooleanField("usable", facts.problem() == null);
      generator.writeStringField("problem", facts.problem());
      generator.writeStringField("sinew_version", RootCommand.Version.text());
      generator.writeStringField("os", os());
      generator.writeStringField("java_version", Runtime.version().toString());
      generator.writeStringField("java_vm", System.getProperty("java.vm.name"));
      generator.writeStringField("java_home", System.getProperty("java.home"));
      generator.writeStringField("processor", platform.processorModel());
      generator.writeStringField("isa", facts.isa());
      generator.writeStringField("isa_reason", facts.reason());
      generator.writeStringField("blas", facts.blas());
      generator.writeArrayFieldStart("gpus");
      for (String gpu : facts.gpus()) {
        generator.writeString(gpu);
      }
      generator.writeEndArray();
      generator.writeStringField("gpu_problem", facts.gpuProblem());
      generator.writeStringField("cublaslt", facts.cublasLt());
      generator.writeStringField("cudnn", facts.cudnn());
      generator.writeStringField("nccl", facts.nccl());
      generator.writeNumberField("processors", platform.processors());
      generator.writeNumberField("processors_usable", facts.processors());
      Json.number(
          generator, "processors_cgroup_limit", platform.processorLimit().orElse(Double.NaN));
      generator.writeNumberField("threads", facts.threads());
      generator.writeStringField("native_library", facts.location());
      generator.writeStringField("huge_pages", platform.hugePages());
      writeSize(generator, "memory_bytes", platform.memory());
      writeSize(generator, "memory_available_bytes", platform.availableMemory());
      writeSize(generator, "memory_cgroup_limit_bytes", platform.memoryLimit());
      generator.writeNumberField("java_heap_limit_bytes", Runtime.getRuntime().maxMemory());
      generator.writeEndObject();
    }
    out.println();
  }

  private static void writeSize(JsonGenerator generator, String name, OptionalLong bytes)
      throws IOException {
    if (bytes.isPresent()) {
      generator.writeNumberField(name, bytes.getAsLong());
    } else {
      generator.writeNullField(name);
    }
  }
}
