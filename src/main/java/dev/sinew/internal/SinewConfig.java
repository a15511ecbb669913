package dev.sinew.internal;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/** Tells JavaCPP how to bind sinew.h; used by the build only. */
@Properties(
    value =
        @Platform(value = "linux-x86_64", include = "sinew.h", link = "sinew", compiler = "cpp17"),
    target = "dev.sinew.internal",
    global = "dev.sinew.internal.SinewNative")
public class SinewConfig implements InfoMapper {
  @Override
  public void map(InfoMap map) {
    map.put(new Info("SN_EXPORT").cppTypes().annotations());
  }
}
