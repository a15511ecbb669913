package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.sinew.cli.TestCheckpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Folders made to read or hand on what lies elsewhere, to hang, or to take all memory. */
@Timeout(60)
class ModelFolderAttackTest {
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path work;
  private Path folder;
  private Path outside;

  @BeforeEach
  void model() throws IOException {
    folder = Files.createDirectory(work.resolve("model"));
    tensor("t", folder.resolve("shard"));
    outside = tensor("t", work.resolve("outside.safetensors"));
  }

  private static Path tensor(String name, Path file) throws IOException {
    return new TestCheckpoint().floats(name, new float[] {1}, 1).write(file);
  }

  private void index(String text) throws IOException {
    Files.writeString(folder.resolve(INDEX), text);
  }

  private void shardNamed(String name) throws IOException {
    index("{\"weight_map\": {\"t\": \"" + name + "\"}}");
  }

  private void refused(String... parts) {
    refused(() -> CheckpointFormat.open(folder).close(), parts);
  }

  private void refused(Executable action, String... parts) {
    CheckpointException e =
        assertTimeoutPreemptively(
            Duration.ofSeconds(20), () -> assertThrows(CheckpointException.class, action));
    String message = e.getMessage();
    assertTrue(message.contains("'" + folder), message);
    for (String part : parts) {
      assertTrue(message.contains(part), message + "\nlacks: " + part);
    }
    assertFalse(message.chars().anyMatch(Character::isISOControl), message);
    assertFalse(message.endsWith("."), message);
    assertTrue(message.length() < 1000, message);
  }

  private Path fifo(String name) throws Exception {
    Path fifo = folder.resolve(name);
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    return fifo;
  }

  @Test
  void theModelThatIsAttackedIsFine() throws IOException {
    shardNamed("shard");
    CheckpointFormat.open(folder).close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../outside.safetensors",
        "/etc/passwd",
        "sub/shard",
        "./shard",
        "shard/",
        "sub\\\\shard",
        "..",
        ".",
        "",
        "a\\u0000b"
      })
  void namesThatLeadElsewhere(String name) throws IOException {
    tensor("t", Files.createDirectory(folder.resolve("sub")).resolve("shard"));
    shardNamed(name);
    refused("puts tensor 't' into '", "which is not the name of a file beside the index");
  }

  @Test
  void theIndexItself() throws IOException {
    shardNamed(INDEX);
    refused("puts tensor 't' into the index itself");
  }

  @Test
  void anotherIndex() throws IOException {
    Files.writeString(
        folder.resolve("other.index.json"), "{\"weight_map\": {\"t\": \"other.index.json\"}}");
    shardNamed("other.index.json");
    refused("is the index of a model in several files");
  }

  @Test
  void aLinkOutOfTheFolder() throws IOException {
    Files.createSymbolicLink(folder.resolve("link"), outside);
    shardNamed("link");
    refused("link' is a symbolic link that leads out of its folder", "cp -rL");
    Files.delete(folder.resolve("link"));
    Files.createSymbolicLink(folder.resolve("link"), Path.of("../outside.safetensors"));
    refused("cp -rL");
  }

  @Test
  void aLinkToAFolderWhoseNameBeginsAlike() throws IOException {
    Path alike = Files.createDirectory(work.resolve("model-2"));
    tensor("t", alike.resolve("shard"));
    Files.createSymbolicLink(folder.resolve("link"), alike.resolve("shard"));
    shardNamed("link");
    refused("cp -rL");
  }

  @Test
  void anIndexThatIsALinkOutOfTheFolder() throws IOException {
    Path index = Files.writeString(work.resolve("index"), "{\"weight_map\": {\"t\": \"shard\"}}");
    Files.createSymbolicLink(folder.resolve(INDEX), index);
    refused("leads out of its folder", "cp -rL");
  }

  @Test
  void aSingleFileThatIsALinkOutOfTheFolder() throws IOException {
    Files.createSymbolicLink(folder.resolve("model.safetensors"), outside);
    refused("leads out of its folder", "cp -rL");
  }

  /** Links inside the folder, and a folder that is itself reached by a link, are harmless. */
  @Test
  void linksThatStayInside() throws IOException {
    Files.createSymbolicLink(folder.resolve("link"), Path.of("shard"));
    shardNamed("link");
    Path link = Files.createSymbolicLink(work.resolve("link to the folder"), folder);
    CheckpointFormat.open(folder).close();
    CheckpointFormat.open(link).close();
  }

  @Test
  void linksToNothingAndInCircles() throws IOException {
    Files.createSymbolicLink(folder.resolve("link"), Path.of("gone"));
    shardNamed("link");
    refused("link', a part of the model: No such file");
    Files.delete(folder.resolve("link"));
    Files.createSymbolicLink(folder.resolve("link"), Path.of("link"));
    refused("link', a part of the model");
    Files.delete(folder.resolve(INDEX));
    Files.createSymbolicLink(folder.resolve("model.safetensors"), Path.of("gone"));
    tensor("t", folder.resolve("pytorch_model.bin"));
    refused("model.safetensors', a part of the model: No such file");
  }

  @Test
  void aShardThatIsMissing() throws IOException {
    shardNamed("missing.safetensors");
    refused("missing.safetensors', a part of the model: No such file", "download the model again");
  }

  @Test
  void pipesAsShardIndexAndFile() throws Exception {
    fifo("pipe");
    shardNamed("pipe");
    refused("pipe'", "it is a pipe, a socket or a device");
    Files.delete(folder.resolve(INDEX));
    fifo(INDEX);
    refused(INDEX, "it is a pipe, a socket or a device");
    Files.delete(folder.resolve(INDEX));
    fifo("model.safetensors");
    refused("model.safetensors", "it is a pipe, a socket or a device");
  }

  @Test
  void devicesAndFoldersAsShards() throws IOException {
    Files.createSymbolicLink(folder.resolve("zero"), Path.of("/dev/zero"));
    shardNamed("zero");
    refused("leads out of its folder");
    Files.delete(folder.resolve("zero"));
    Files.createDirectory(folder.resolve("sub"));
    shardNamed("sub");
    refused("it is a folder");
  }

  @Test
  void otherFilesThatCannotBeCopied() throws Exception {
    shardNamed("shard");
    try (ModelFolder model = ModelFolder.open(folder)) {
      Path config = folder.resolve("config.json");
      Files.createSymbolicLink(config, Path.of("/etc/passwd"));
      refused(model::files, "config.json' is a symbolic link that leads out", "cp -rL");
      Files.delete(config);
      Files.createSymbolicLink(config, Path.of("gone"));
      refused(model::files, "config.json' is a symbolic link to a file that does not exist");
      Files.delete(config);
      Files.createSymbolicLink(folder.resolve("loop"), Path.of("."));
      refused(model::files, "loop' is a symbolic link to a folder");
      Files.delete(folder.resolve("loop"));
      Path pipe = fifo("config.json");
      refused(model::files, "config.json' is a pipe, a socket or a device");
      refused(() -> ModelFolder.requireWritable(work.resolve("out"), model, false), "is a pipe");
      Files.delete(pipe);
      assertEquals(new ModelFiles(List.of(), List.of()), model.files());
    }
  }

  @Test
  void aFolderWithoutWeights() throws IOException {
    refused("is a folder without the weights of a model", "model.safetensors.index.json");
  }

  @Test
  void tensorsThatAreNotWhereTheIndexSays() throws IOException {
    index("{\"weight_map\": {\"t\": \"shard\", \"u\": \"shard\"}}");
    refused("shard' has no tensor 'u', which the index of its model puts there");
    tensor("t", folder.resolve("shard-2"));
    tensor("u", folder.resolve("shard-3"));
    index("{\"weight_map\": {\"t\": \"shard-3\", \"u\": \"shard-3\"}}");
    refused("shard-3' has no tensor 't'");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "17",
        "null",
        "{}",
        "{\"weight_map\": {}}",
        "{\"weight_map\": null}",
        "{\"weight_map\": []}",
        "{\"weight_map\": {\"t\": null}}",
        "{\"weight_map\": {\"t\": 1}}",
        "{\"weight_map\": {\"t\": [\"shard\"]}}",
        "{\"weight_map\": {\"t\": {\"file\": \"shard\"}}}",
        "{\"weight_map\": {\"t\": \"shard\"}",
        "{\"weight_map\": {\"t\": \"shard\",}}",
        "{\"weight_map\": {\"t\": \"shard\"}} {}",
        "{\"weight_map\": {\"t\": \"shard\"}, \"metadata\": 3}",
        "{'weight_map': {'t': 'shard'}}",
        "\ufeff{\"weight_map\": {\"t\": \"shard\"}}",
        "{\"weight_map\": {\"t\": \"shard\"}} // more"
      })
  void whatIsNoIndex(String text) throws IOException {
    index(text);
    refused(INDEX + "' is no valid index of a model: ");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"weight_map\": {\"t\": \"shard\", \"t\": \"shard\"}}",
        "{\"weight_map\": {\"t\": \"shard\", \"\\u0074\": \"shard\"}}",
        "{\"weight_map\": {\"t\": \"shard\"}, \"weight_map\": {\"t\": \"shard\"}}",
        "{\"weight_map\": {\"t\": \"shard\"}, \"metadata\": {}, \"metadata\": {}}",
        "{\"weight_map\": {\"t\": \"shard\"}, \"metadata\": {\"a\": 1, \"a\": 2}}",
        "{\"weight_map\": {\"t\": \"shard\"}, \"x\": 1, \"x\": 1}"
      })
  void keysThatComeTwice(String text) throws IOException {
    index(text);
    refused(" twice");
  }

  @Test
  void deepNesting() throws IOException {
    String deep = "[".repeat(100_000) + "]".repeat(100_000);
    index("{\"metadata\": {\"a\": " + deep + "}, \"weight_map\": {\"t\": \"shard\"}}");
    refused("nests too deeply");
    index("{\"x\": " + deep + ", \"weight_map\": {\"t\": \"shard\"}}");
    refused("nests too deeply");
  }

  @Test
  void bytesThatAreNotUtf8() throws IOException {
    byte[] text = "{\"weight_map\": {\"?\": \"shard\"}}".getBytes(StandardCharsets.US_ASCII);
    text[17] = (byte) 0xff;
    Files.write(folder.resolve(INDEX), text);
    refused("its text is not valid UTF-8");
  }

  @Test
  void anIndexOfManyGigabytes() throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(folder.resolve(INDEX).toFile(), "rw")) {
      file.setLength(5L << 30);
    }
    refused("more than any index");
  }

  @Test
  void namesWithControlCharactersDoNotReachTheTerminal() throws IOException {
    shardNamed("\\u001b[2Jx");
    refused("\\u001b");
    index("{\"weight_map\": {\"" + "x\\n".repeat(500) + "\": \"shard\"}}");
    refused("has no tensor 'x\\u000ax");
  }

  /** Half of the heap is for all files together. */
  @Test
  void anIndexOrShardsThatWouldTakeAllMemory() throws Exception {
    StringBuilder text = new StringBuilder("{\"weight_map\": {\"t\": \"shard\"");
    for (int i = 0; i < 400_000; i++) {
      text.append(",\"").append(i).append("\":\"shard\"");
    }
    index(text.append("}}").toString());
    assertChildRefuses("MiB of the Java heap");
    StringBuilder map = new StringBuilder("{\"weight_map\": {\"t\": \"shard\"");
    for (int shard = 0; shard < 8; shard++) {
      TestCheckpoint checkpoint = new TestCheckpoint();
      for (int i = 0; i < 12_000; i++) {
        checkpoint.add(shard + "-" + i, "U8", new byte[0], 0);
      }
      checkpoint.write(folder.resolve("shard-" + shard));
      map.append(",\"" + shard + "-0\": \"shard-" + shard + "\"");
    }
    index(map.append("}}").toString());
    assertChildRefuses("MiB of the Java heap");
  }

  private void assertChildRefuses(String part) throws Exception {
    Process child = ChildProgram.start("64m", "open-folder", folder);
    List<String> lines = child.inputReader().lines().toList();
    assertEquals(1, child.waitFor(), lines.toString());
    assertEquals(1, lines.size(), lines.toString());
    assertTrue(lines.get(0).contains(part), lines.toString());
  }

  @Test
  void aFolderThatMayNotBeLookedInto() throws IOException {
    Path closed = TestModels.bert(folder.resolve("closed"), 1);
    Files.setPosixFilePermissions(closed, Set.of());
    try {
      assumeFalse(Files.isExecutable(closed), "root may look into every folder");
      String message =
          assertThrows(CheckpointException.class, () -> ModelFolder.open(closed)).getMessage();
      assertTrue(message.contains("closed': Permission denied"), message);
    } finally {
      Files.setPosixFilePermissions(closed, Set.of(PosixFilePermission.values()));
    }
  }
}
