package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.pass.CompressedTensors;
import dev.sinew.pass.Report;
import dev.sinew.pass.Storage;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What {@code optimize} prints when it is done. */
final class OptimizeSummary {
  private static final int NAMES_SHOWN = 4;

  private final InputAndOutput files;
  private final boolean dryRun;
  private final Report report;
  private final ChosenDevice device;
  private final CompressedTensors plan;

  /**
   * @param device what computed
   * @param plan of the format compressed-tensors, or null
   */
  OptimizeSummary(
      InputAndOutput files,
      boolean dryRun,
      Report report,
      ChosenDevice device,
      CompressedTensors plan) {
    this.files = files;
    this.dryRun = dryRun;
    this.report = report;
    this.device = device;
    this.plan = plan;
  }

  void print(PrintWriter out) {
    List<Report.Entry> touched = report.tensors().stream().filter(Report.Entry::touched).toList();
    out.printf(
        "%s -> %s%s%n",
        Messages.printable(files.input().toString()),
        Messages.printable(files.output().toString()),
        dryRun ? " (dry run: nothing was written)" : "");
    out.println("  recipe    " + report.recipe());
    device.print(out);
    out.printf(
        "  tensors   %s touched, %s left as they were%n",
        Text.count(touched.size()), Text.count(report.tensors().size() - touched.size()));
    printSparsity(out, touched);
    printStorage(out, touched);
    out.printf(
        "  bytes     %s -> %s, %s%n",
        Text.bytes(report.inputBytes()),
        Text.bytes(report.outputBytes()),
        change(report.inputBytes(), report.outputBytes()));
    if (!dryRun) {
      out.printf(
          "  time      %s s, %s%n",
          Text.fixed(report.seconds(), 2), Text.rate(report.inputBytes(), report.seconds()));
    }
    if (plan != null) {
      plan.notes().forEach(note -> out.println("  note      " + note));
    }
    if (touched.isEmpty()) {
      out.println("  no tensor was touched; --targets GLOB names some");
    }
    printLeft(out);
  }

  /** Scales can take more than was saved where slices are tiny. */
  private static String change(long before, long after) {
    if (after > before && before > 0) {
      return Text.fixed((double) after / before, 2) + " times larger";
    }
    return (after == 0 ? "1.00" : Text.fixed((double) before / after, 2)) + " times smaller";
  }

  private static void printSparsity(PrintWriter out, List<Report.Entry> touched) {
    long elements = 0;
    long zeros = 0;
    for (Report.Entry tensor : touched) {
      if (tensor.zeros() < 0) {
        return;
      }
      elements += tensor.elements();
      zeros += tensor.zeros();
    }
    if (elements > 0) {
      out.printf(
          "  sparsity  %s%% of %s weights are zero%n",
          Text.fixed(100.0 * zeros / elements, 2), Text.count(elements));
    }
  }

  private void printStorage(PrintWriter out, List<Report.Entry> touched) {
    if (report.storage() == Storage.DENSE) {
      return;
    }
    if (dryRun) {
      out.println(
          "  storage   unknown before weights are pruned; the bytes are those of dense tensors");
      return;
    }
    long sparse = touched.stream().filter(entry -> entry.storage() == Storage.BITMAP).count();
    out.printf("  storage   %s with a bitmap", Text.plural((int) sparse, "tensor"));
    if (sparse < touched.size()) {
      out.printf(
          ", %s dense, where a bitmap would save nothing", Text.count(touched.size() - sparse));
    }
    out.println();
  }

  private void printLeft(PrintWriter out) {
    Map<String, List<String>> namesByReason = new LinkedHashMap<>();
    for (Report.Entry tensor : report.tensors()) {
      if (!tensor.touched()) {
        namesByReason
            .computeIfAbsent(tensor.reason(), reason -> new ArrayList<>())
            .add(tensor.name());
      }
    }
    if (namesByReason.isEmpty()) {
      return;
    }
    out.println("left as they were:");
    namesByReason.forEach(
        (reason, names) ->
            out.printf(
                "  %s (%s): %s%n",
                Messages.printable(reason), names.size(), Text.some(names, NAMES_SHOWN)));
  }
}
