package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.io.ModelFiles;
import dev.sinew.pass.CompressedTensors;
import dev.sinew.pass.Report;
import java.io.IOException;
import java.util.List;
import java.util.Locale;

/** What {@code optimize --report} writes. */
final class OptimizeReport {
  private OptimizeReport() {}

  /**
   * @param device what computed
   * @param others the files of a model folder besides its weights; null for an output of one file
   * @param plan of the format compressed-tensors, or null
   */
  static void write(
      JsonGenerator json,
      InputAndOutput files,
      boolean dryRun,
      Report done,
      ChosenDevice device,
      ModelFiles others,
      CompressedTensors plan)
      throws IOException {
    json.writeStartObject();
    json.writeStringField("sinew_version", RootCommand.Version.text());
    json.writeStringField("input", files.input().toString());
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
    json.writeStringField("format", plan == null ? "sinew" : "compressed-tensors");
    Json.strings(json, "ignored_layers", plan == null ? List.of() : plan.ignore());
    Json.strings(json, "notes", plan == null ? List.of() : plan.notes());
    json.writeArrayFieldStart("tensors");
    for (Report.Entry tensor : done.tensors()) {
      write(json, tensor);
    }
    json.writeEndArray();
    json.writeEndObject();
  }

  private static void write(JsonGenerator json, Report.Entry tensor) throws IOException {
    json.writeStartObject();
    json.writeStringField("name", tensor.name());
    json.writeStringField("dtype", tensor.dtype().name());
    Json.numbers(json, "shape", tensor.shape());
    json.writeBooleanField("touched", tensor.touched());
    json.writeStringField("reason", tensor.reason());
    json.writeNumberField("elements", tensor.elements());
    if (tensor.zeros() < 0) {
      json.writeNullField("zero_count");
    } else {
      json.writeNumberField("zero_count", tensor.zeros());
    }
    json.writeStringField("output_dtype", tensor.outputDtype().name());
    json.writeStringField("storage", tensor.storage().name().toLowerCase(Locale.ROOT));
    json.writeNumberField("input_bytes", tensor.inputBytes());
    json.writeNumberField("output_bytes", tensor.outputBytes());
    json.writeEndObject();
  }
}
