package dev.sinew.fuzz;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Well-formed safetensors files whose tensors are named as the parts of encoded ones are: any of
 * them, of any types and shapes, with any content. Two bytes say which parts there are and three
 * more for each part what it is; the rest is data.
 */
public final class EncodedFuzzer {
  private static final List<String> PARTS =
      List.of(
          "w",
          "w_scale",
          "w_zero_point",
          "w_shape",
          "w_codebook",
          "w_packed",
          "w_g_idx",
          "w_bitmap",
          "w_row_offsets");
  private static final List<String> DTYPES =
      List.of("U8", "I8", "I32", "I64", "F32", "F16", "BF16", "F8_E4M3", "F64", "BOOL");
  private static final int[] SIZES = {1, 1, 4, 8, 4, 2, 2, 1, 8, 1};
  // The sizes that five bits stand for: small ones, and those of codebooks, words and groups.
  private static final int SMALL = 24;
  private static final int[] LARGE = {32, 48, 64, 100, 128, 130, 255, 256};
  private static final int MOST_BYTES = 1 << 16;

  private EncodedFuzzer() {}

  /** Loads classes and the native library, which on a busy machine takes long. */
  public static void fuzzerInitialize() throws IOException {
    DecodingFuzzer.fuzzerInitialize();
  }

  /** The entry point that Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) throws IOException {
    byte[] file = file(ByteBuffer.wrap(input).order(ByteOrder.LITTLE_ENDIAN));
    if (file != null) {
      DecodingFuzzer.fuzzerTestOneInput(file);
    }
  }

  /** The file that these bytes describe; null if they are too few, or it would be large. */
  private static byte[] file(ByteBuffer input) {
    if (input.remaining() < 2) {
      return null;
    }
    int present = input.getShort();
    List<String> entries = new ArrayList<>();
    // The size of a group that does not follow from shapes.
    entries.add("\"__metadata__\":{\"sinew.group_size\":\"" + (present >> 12 & 7) + "\"}");
    int position = 0;
    for (int p = 0; p < PARTS.size(); p++) {
      if ((present >> p & 1) == 0) {
        continue;
      }
      if (input.remaining() < 3) {
        return null;
      }
      int kind = input.get() & 0xff;
      int dtype = kind % DTYPES.size();
      int[] shape = new int[kind / DTYPES.size() % 4];
      int sizes = input.getShort() & 0xffff;
      int bytes = SIZES[dtype];
      for (int d = 0; d < shape.length; d++) {
        int code = sizes >> 5 * d & 31;
        shape[d] = code < SMALL ? code : LARGE[code - SMALL];
        bytes *= shape[d];
      }
      entries.add(
          String.format(
              "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}",
              PARTS.get(p), DTYPES.get(dtype), Arrays.toString(shape), position, position + bytes));
      position += bytes;
      if (position > MOST_BYTES) {
        return null;
      }
    }
    byte[] data = new byte[position];
    int given = Math.min(input.remaining(), position);
    input.get(data, 0, given);
    byte[] header = ("{" + String.join(",", entries) + "}").getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).array());
    out.writeBytes(header);
    out.writeBytes(data);
    return out.toByteArray();
  }
}
