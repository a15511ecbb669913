package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.internal.Messages;
import dev.sinew.io.AtomicFile;
import dev.sinew.model.CheckpointException;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code --report}, for commands that write a checkpoint and can tell what they did. */
final class ReportOption {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  @Option(
      names = "--report",
      paramLabel = "FILE.json",
      description = "Write what was done to each tensor; docs/cli.md describes the fields.")
  private Path file;

  /** Writes the report. */
  interface Content {
    void write(JsonGenerator json) throws IOException;
  }

  /** Before hours of work rather than after them. */
  void requireWritable(Destination files) throws CheckpointException {
    if (file == null) {
      return;
    }
    if (AtomicFile.isSameFile(file, files.output())) {
      throw new ParameterException(
          command.commandLine(),
          "--report and OUT name the same file; give the report a name of its own");
    }
    files.requireOtherThanInput(file);
    files.requireWritable(file);
  }

  /**
   * Writes the file if there is to be one. A checkpoint whose report cannot be written stays: it is
   * complete, and holds the work.
   */
  void write(Destination files, boolean dryRun, Content content) throws IOException {
    if (file == null) {
      return;
    }
    try {
      write(files.force(), content);
    } catch (IOException e) {
      if (dryRun) {
        throw e;
      }
      throw new CheckpointException(
          Messages.quote(files.output())
              + " is complete, but its report was not written: "
              + Failure.sentence(e),
          e);
    }
  }

  private void write(boolean overwrite, Content content) throws IOException {
    try (AtomicFile target = AtomicFile.create(file, overwrite)) {
      Writer writer =
          new BufferedWriter(
              new OutputStreamWriter(new AtomicStream(target), StandardCharsets.UTF_8));
      try (JsonGenerator json = Json.to(writer)) {
        content.write(json);
      }
      writer.write('\n');
      writer.flush();
      target.commit();
    }
  }

  /** Appends to a file, with sentences for the user when that fails. */
  private static final class AtomicStream extends OutputStream {
    private final AtomicFile file;
    private long position;

    AtomicStream(AtomicFile file) {
      this.file = file;
    }

    @Override
    public void write(int value) throws IOException {
      write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      file.write(position, ByteBuffer.wrap(bytes, offset, length));
      position += length;
    }
  }
}
