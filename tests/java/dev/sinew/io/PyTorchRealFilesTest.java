package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Files that PyTorch has written. */
class PyTorchRealFilesTest {
  private static Path data(String name) {
    Path path = Path.of(System.getProperty("sinew.data", "../shared/data"), name);
    assumeTrue(Files.exists(path), "skipped: there is no " + path + "; set -Dsinew.data");
    return path;
  }

  private static byte[] read(Checkpoint checkpoint, String name) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate((int) checkpoint.tensors().get(name).bytes());
    checkpoint.read(name, 0, buffer);
    return buffer.array();
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  /** Name, type, shape and digest of every tensor, a line each in the order of the file. */
  private static String listing(Checkpoint checkpoint) throws Exception {
    StringBuilder list = new StringBuilder();
    for (TensorInfo info : checkpoint.tensors().values()) {
      list.append(info.name()).append(' ').append(info.dtype()).append(' ').append(info.shape());
      list.append(' ').append(sha256(read(checkpoint, info.name()))).append('\n');
    }
    return list.toString();
  }

  /**
   * Against digests that Python's own pickle module and NumPy have computed: of some tensors, and
   * of the listing of all.
   */
  @Test
  void mnistHasTheDigestsThatNumPyComputes() throws Exception {
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(data("mnist/cnn.pt"))) {
      assertEquals(20, checkpoint.tensors().size());
      assertEquals(
          "f533ca004c8548ebfef05c28a185676edb8ad53f8dbc94e598623720db3ecf0a",
          sha256(read(checkpoint, "fc1.weight")));
      assertEquals(
          "52c75c74cb9e1926a003046f82f9724513546bc15f4f853153882b8ac35ba93e",
          sha256(listing(checkpoint).getBytes(StandardCharsets.UTF_8)));
    }
  }

  /**
   * mnist/cnn.safetensors is the same architecture from another training run (its batch counters
   * say 7504, those of cnn.pt 3752), so names, types and shapes are equal and the values are not.
   */
  @Test
  void mnistHasTheTensorsOfItsSafetensorsSibling() throws IOException {
    byte[] sibling = Files.readAllBytes(data("mnist/cnn.safetensors"));
    int header = (int) ByteBuffer.wrap(sibling).order(ByteOrder.LITTLE_ENDIAN).getLong();
    String json = new String(sibling, 8, header, StandardCharsets.UTF_8);
    Matcher tensor =
        Pattern.compile("\"([^\"]+)\":\\{\"dtype\":\"(\\w+)\",\"shape\":\\[([\\d,]*)\\]")
            .matcher(json);
    Set<String> expected = new TreeSet<>();
    while (tensor.find()) {
      expected.add(tensor.group(1) + " " + tensor.group(2) + " [" + tensor.group(3) + "]");
    }
    Set<String> actual = new TreeSet<>();
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(data("mnist/cnn.pt"))) {
      for (TensorInfo info : checkpoint.tensors().values()) {
        String shape = info.shape().toString().replace(" ", "");
        actual.add(info.name() + " " + info.dtype() + " " + shape);
      }
    }
    assertEquals(expected, actual);
    assertEquals(20, actual.size());
  }

  /** A file from before the byteorder entry. */
  @Test
  void faceDetectorHasTheDigestsThatNumPyComputes() throws Exception {
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(data("face-detector/rfb-320-masked.pth"))) {
      assertEquals(244, checkpoint.tensors().size());
      assertEquals(
          "5a8b23b3a68de66e337025cd5b3dafb886ddf1485ef86a40b8541431fa53d975",
          sha256(read(checkpoint, "base_net.0.0.weight")));
      assertEquals(
          "8c4af55d91cb1ece8a7d556d37ca0ab5a1a57b2aa369c405c002fb8e0e6f86d3",
          sha256(read(checkpoint, "base_net.7.branch1.0.bn.running_mean")));
      assertEquals(
          "a6de1a38c93d04b14333e5c074bf7a97884127ae692d23f6a166ec2d5d8ce3a4",
          sha256(read(checkpoint, "regression_headers.3.bias")));
      assertEquals(List.of(), checkpoint.tensors().get("base_net.0.1.num_batches_tracked").shape());
      assertEquals(
          "d083b84cf5701c65164f136a0494494ee09b30fa0426461cddbacf2b1bc38150",
          sha256(listing(checkpoint).getBytes(StandardCharsets.UTF_8)));
    }
  }

  /** A file from before PyTorch 1.6, saved on Windows from a GPU. */
  @Test
  void legacyFaceDetectorHasTheDigestsThatNumPyComputes() throws Exception {
    try (Checkpoint checkpoint = CheckpointFormat.open(data("face-detector/rfb-320.pth"))) {
      assertEquals("PyTorch legacy", checkpoint.format());
      assertEquals(244, checkpoint.tensors().size());
      assertEquals(
          "8284a277ea54574387ac3a1b49e800e40d6c87fcce51ebbc5a6949a0d8504f02",
          sha256(listing(checkpoint).getBytes(StandardCharsets.UTF_8)));
    }
  }
}
