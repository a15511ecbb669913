package dev.sinew.cli;

import dev.sinew.Device;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code --device}, for commands that can compute on a GPU. */
final class DeviceOption {
  private static final Pattern FORM = Pattern.compile("cpu|auto|cuda(:\\d{1,4})?");

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  private String name = "cpu";

  @Option(
      names = "--device",
      paramLabel = "cpu|cuda[:N]|auto",
      description =
          "What computes: the processor (the default), GPU N (from 0 on, which is meant without a"
              + " number), or a GPU if there is one.")
  private void setName(String name) {
    if (!FORM.matcher(name).matches()) {
      throw new ParameterException(
          command.commandLine(), "--device takes cpu, cuda, cuda:N or auto, not '" + name + "'");
    }
    this.name = name;
  }

  /**
   * The device.
   *
   * @throws CommandException if it is a GPU that cannot be used
   */
  ChosenDevice open() throws CommandException {
    switch (name) {
      case "cpu":
        return new ChosenDevice(Device.cpu(), null);
      case "auto":
        return new ChosenDevice(Device.best(), Text.sentence(Device.bestReason()));
      default:
        int colon = name.indexOf(':');
        int index = colon < 0 ? 0 : Integer.parseInt(name.substring(colon + 1));
        try {
          return new ChosenDevice(Device.cuda(index), null);
        } catch (UnsupportedOperationException | IllegalArgumentException e) {
          throw new CommandException(
              Text.sentence(e.getMessage()) + "; --device cpu computes on the processor");
        }
    }
  }
}
