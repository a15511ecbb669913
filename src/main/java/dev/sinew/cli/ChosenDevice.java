package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.Device;
import dev.sinew.internal.Messages;
import java.io.IOException;
import java.io.PrintWriter;

/**
 * What computes, as commands with {@code --device} tell it.
 *
 * @param reason why {@code auto} chose it, or null
 */
record ChosenDevice(Device device, String reason) {
  /** A line of a summary. */
  void print(PrintWriter out) {
    String text = Messages.printable(device.toString());
    out.println("  device    " + (reason == null ? text : text + ": " + reason));
  }

  /** Fields of a report: the short name, as the option takes it, and the reason. */
  void write(JsonGenerator json) throws IOException {
    String text = device.toString();
    json.writeStringField("device", text.substring(0, text.indexOf(' ')));
    json.writeStringField("device_reason", reason);
  }
}
