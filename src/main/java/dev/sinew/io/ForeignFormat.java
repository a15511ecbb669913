package dev.sinew.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Pattern;

/** Says what a file that is no readable checkpoint seems to be, and what its owner can do. */
final class ForeignFormat {
  private static final String GIVE_WEIGHTS =
      "; give the model's weights as a safetensors file or as one saved by torch.save";
  private static final String UNPACK = "; unpack it and give the model file in it";

  /** A fixed sequence of bytes at a fixed place. */
  private record Signature(int offset, byte[] bytes, String says) {
    static Signature hex(int offset, String hex, String says) {
      return new Signature(offset, HexFormat.of().parseHex(hex), says);
    }

    static Signature text(int offset, String text, String says) {
      return new Signature(offset, text.getBytes(StandardCharsets.ISO_8859_1), says);
    }

    boolean matches(byte[] start) {
      if (start.length < offset + bytes.length) {
        return false;
      }
      for (int i = 0; i < bytes.length; i++) {
        if (start[offset + i] != bytes[i]) {
          return false;
        }
      }
      return true;
    }
  }

  private static final List<Signature> SIGNATURES =
      List.of(
          Signature.text(0, "GGUF", "is a GGUF model" + GIVE_WEIGHTS),
          // Little-endian magic numbers, so the letters stand in reverse.
          Signature.text(0, "lmgg", "is a model in an old GGML format" + GIVE_WEIGHTS),
          Signature.text(0, "fmgg", "is a model in the old GGMF format" + GIVE_WEIGHTS),
          Signature.text(0, "tjgg", "is a model in the old GGJT format" + GIVE_WEIGHTS),
          Signature.text(0, "algg", "is an adapter in the old GGLA format" + GIVE_WEIGHTS),
          Signature.text(4, "TFL3", "is a TensorFlow Lite model" + GIVE_WEIGHTS),
          Signature.hex(
              0, "894844460d0a1a0a", "is an HDF5 file, perhaps a Keras model" + GIVE_WEIGHTS),
          Signature.hex(0, "934e554d5059", "is a NumPy array (.npy)" + GIVE_WEIGHTS),
          Signature.hex(
              0,
              "1f8b",
              "is compressed with gzip; unpack it with gunzip and give the model file in it"),
          Signature.hex(0, "fd377a585a00", "is compressed with xz" + UNPACK),
          Signature.hex(0, "28b52ffd", "is compressed with zstd" + UNPACK),
          Signature.hex(0, "04224d18", "is compressed with lz4" + UNPACK),
          Signature.hex(0, "377abcaf271c", "is a 7-Zip archive" + UNPACK),
          Signature.hex(0, "526172211a07", "is a RAR archive" + UNPACK),
          Signature.hex(0, "7f454c46", "is a program or a library for Linux" + GIVE_WEIGHTS),
          Signature.text(0, "%PDF-", "is a PDF document" + GIVE_WEIGHTS));

  private static final Pattern BZIP2 = Pattern.compile("^BZh[1-9]1AY");
  private static final Pattern LFS =
      Pattern.compile("^version https?://(git-lfs\\.github\\.com|hawser\\.github\\.com)/spec/");
  private static final Pattern HTML =
      Pattern.compile("^<(!doctype\\s+html|html|head|body)\\b", Pattern.CASE_INSENSITIVE);

  private ForeignFormat() {}

  /**
   * Completes the sentence that begins with the file's name.
   *
   * @param start the first bytes of the file, some hundreds unless the file is shorter
   * @param size the size of the file in bytes
   */
  static String describe(byte[] start, long size) {
    if (size == 0) {
      return "is empty; download or save it again";
    }
    if (isZero(start)) {
      return "begins with "
          + start.length
          + " zero bytes, so it is damaged or its download is incomplete; download it again";
    }
    String binary = binary(start);
    if (binary != null) {
      return binary;
    }
    String text = text(start);
    if (text != null) {
      return text;
    }
    String damaged = damagedSafeTensors(start, size);
    if (damaged != null) {
      return damaged;
    }
    int shown = Math.min(start.length, 8);
    return "is in no format that can be read (it begins with the bytes "
        + HexFormat.ofDelimiter(" ").formatHex(start, 0, shown)
        + ")"
        + GIVE_WEIGHTS;
  }

  private static boolean isZero(byte[] start) {
    for (byte b : start) {
      if (b != 0) {
        return false;
      }
    }
    return true;
  }

  private static String binary(byte[] start) {
    for (Signature signature : SIGNATURES) {
      if (signature.matches(start)) {
        return signature.says;
      }
    }
    String latin1 = new String(start, StandardCharsets.ISO_8859_1);
    if (BZIP2.matcher(latin1).find()) {
      return "is compressed with bzip2" + UNPACK;
    }
    if (latin1.startsWith("ustar", 257)) {
      return "is a tar archive" + UNPACK;
    }
    if (start.length >= 3 && start[0] == (byte) 0x80 && start[1] >= 2 && start[1] <= 5) {
      return "is a Python pickle, but not a file of torch.save" + GIVE_WEIGHTS;
    }
    return protobuf(start);
  }

  /**
   * ONNX and TensorFlow's saved models have no signature: both begin with field 1, a small integer
   * (the version), followed by another field that their schema allows there.
   */
  private static String protobuf(byte[] start) {
    if (start.length < 4 || start[0] != 0x08 || start[1] < 1 || start[1] > 32) {
      return null;
    }
    // SavedModel: schema version 1, then a MetaGraphDef, a message that begins with a message.
    if (start[1] == 1 && start[2] == 0x12) {
      int i = 3;
      while (i < start.length && start[i] < 0) {
        i++;
      }
      if (i + 1 < start.length && start[i + 1] == 0x0a) {
        return "is a TensorFlow SavedModel" + GIVE_WEIGHTS;
      }
    }
    // ModelProto: 2 to 4 and 6 are strings, 5 an integer, 7 the graph, 8 an operator set.
    return switch (start[2]) {
      case 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42 -> "is an ONNX model" + GIVE_WEIGHTS;
      default -> null;
    };
  }

  private static String text(byte[] start) {
    String text = new String(start, StandardCharsets.UTF_8);
    if (text.startsWith("\ufeff")) {
      text = text.substring(1);
    }
    text = text.stripLeading();
    if (LFS.matcher(text).find()) {
      return "is a Git LFS pointer, not the file itself; fetch the file with git lfs pull";
    }
    if (HTML.matcher(text).find()) {
      return "is a web page (HTML), perhaps an error message or a login page;"
          + " download the file itself";
    }
    if (!isText(start, text)) {
      return null;
    }
    if (text.startsWith("<")) {
      return "is XML or HTML, not weights" + GIVE_WEIGHTS;
    }
    if (text.startsWith("{") || text.startsWith("[")) {
      return text.contains("\"weight_map\"")
          ? "is the index of a model in several files (JSON); give the folder that it is in"
          : "is JSON, not weights" + GIVE_WEIGHTS;
    }
    return "is plain text, not weights" + GIVE_WEIGHTS;
  }

  private static boolean isText(byte[] start, String decoded) {
    int replaced = decoded.indexOf('\ufffd');
    if (replaced >= 0 && replaced < decoded.length() - 3) {
      // Not UTF-8; at the very end it may be a character that was cut.
      return false;
    }
    for (byte b : start) {
      boolean control = b >= 0 && b < ' ';
      if (control && b != '\t' && b != '\n' && b != '\r' && b != '\f') {
        return false;
      }
    }
    return true;
  }

  /**
   * One half of what makes a safetensors file: the length of its header, or how the header begins.
   */
  private static String damagedSafeTensors(byte[] start, long size) {
    int lengthBytes = SafeTensorsHeader.LENGTH_BYTES;
    if (start.length <= lengthBytes) {
      return "has only " + size + " bytes, too few for a model; download or save it again";
    }
    long length = ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getLong();
    String header =
        new String(start, lengthBytes, start.length - lengthBytes, StandardCharsets.UTF_8);
    if (header.startsWith("{\"") || header.startsWith("{}")) {
      return "seems to be a damaged safetensors file: its header would take "
          + Long.toUnsignedString(length)
          + " bytes, which no reader accepts; download or save it again";
    }
    // No header is shorter than "{}" padded to 8 bytes.
    if (length >= lengthBytes
        && length <= Math.min(size - lengthBytes, SafeTensorsHeader.MAX_BYTES)) {
      return "seems to be a damaged safetensors file: after a header length of "
          + length
          + " the '{' that begins a header is missing; download or save it again";
    }
    return null;
  }
}
