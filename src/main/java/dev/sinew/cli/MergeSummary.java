package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.internal.Messages;
import dev.sinew.io.ModelFiles;
import dev.sinew.pass.MergeReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** What {@code merge} prints when it is done, and its report. */
final class MergeSummary {
  private static final int NAMES_SHOWN = 4;

  private final MergeFiles files;
  private final boolean dryRun;
  private final MergeReport report;
  private final ChosenDevice device;

  /**
   * @param device what computed
   */
  MergeSummary(MergeFiles files, boolean dryRun, MergeReport report, ChosenDevice device) {
    this.files = files;
    this.dryRun = dryRun;
    this.report = report;
    this.device = device;
  }

  void print(PrintWriter out) {
    out.printf(
        "%s -> %s%s%n",
        files.models().stream()
            .map(Path::toString)
            .map(Messages::printable)
            .collect(Collectors.joining(" + ")),
        Messages.printable(files.output().toString()),
        dryRun ? " (dry run: nothing was written)" : "");
    out.println("  recipe    " + report.recipe());
    device.print(out);
    out.printf(
        "  tensors   %s merged, %s copied, %s left out%n",
        Text.count(count(MergeReport.Action.MERGED)),
        Text.count(count(MergeReport.Action.COPIED)),
        Text.count(count(MergeReport.Action.SKIPPED)));
    out.printf(
        "  bytes     %s -> %s%n",
        Text.bytes(report.inputBytes()), Text.bytes(report.outputBytes()));
    if (!dryRun) {
      out.printf(
          "  time      %s s, %s%n",
          Text.fixed(report.seconds(), 2), Text.rate(report.inputBytes(), report.seconds()));
    }
    printNotMerged(out, MergeReport.Action.COPIED, "copied:");
    printNotMerged(out, MergeReport.Action.SKIPPED, "left out:");
  }

  private long count(MergeReport.Action action) {
    return report.tensors().stream().filter(tensor -> tensor.action() == action).count();
  }

  private void printNotMerged(PrintWriter out, MergeReport.Action action, String title) {
    Map<String, List<String>> namesByReason = new LinkedHashMap<>();
    for (MergeReport.Entry tensor : report.tensors()) {
      if (tensor.action() == action) {
        namesByReason
            .computeIfAbsent(tensor.reason(), reason -> new ArrayList<>())
            .add(tensor.name());
      }
    }
    if (!namesByReason.isEmpty()) {
      out.println(title);
      namesByReason.forEach(
          (reason, names) ->
              out.printf(
                  "  %s (%s): %s%n",
                  Messages.printable(reason), names.size(), Text.some(names, NAMES_SHOWN)));
    }
  }

  /**
   * Writes the report.
   *
   * @param device what computed
   * @param others the files of a model folder besides its weights; null for an output of one file
   */
  static void write(
      JsonGenerator json,
      MergeFiles files,
      boolean dryRun,
      MergeReport done,
      ChosenDevice device,
      ModelFiles others)
      throws IOException {
    json.writeStartObject();
    json.writeStringField("sinew_version", RootCommand.Version.text());
    Json.strings(json, "models", files.models().stream().map(Path::toString).toList());
    json.writeStringField("base", files.base() == null ? null : files.base().toString());
    json.writeStringField("output", files.output().toString());
    json.writeBooleanField("dry_run", dryRun);
    json.writeStringField("recipe", done.recipe());
    device.write(json);
    Json.strings(json, "unmatched_patterns", done.unmatched());
    json.writeNumberField("input_bytes", done.inputBytes());
    json.writeNumberField("output_bytes", done.outputBytes());
    json.writeNumberField("bytes_read", done.bytesRead());
    Json.number(json, "seconds", done.seconds());
    Json.strings(json, "files_copied", others == null ? List.of() : others.copied());
    Json.strings(json, "files_not_copied", others == null ? List.of() : others.leftOut());
    json.writeArrayFieldStart("tensors");
    for (MergeReport.Entry tensor : done.tensors()) {
      json.writeStartObject();
      json.writeStringField("name", tensor.name());
      json.writeStringField("dtype", tensor.dtype().name());
      Json.numbers(json, "shape", tensor.shape());
      json.writeStringField("action", tensor.action().name().toLowerCase(Locale.ROOT));
      json.writeStringField("reason", tensor.reason());
      json.writeStringField(
          "source", tensor.source() < 0 ? null : files.inputs().get(tensor.source()).toString());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
  }
}
