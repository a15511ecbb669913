package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.names;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.cli.TestCheckpoint;
import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class FolderWriterTest {
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path folder;
  private Path in;
  private Path out;

  @BeforeEach
  void places() {
    in = folder.resolve("in");
    out = folder.resolve("out");
  }

  /** Copies a model, with {@code more} tensors beside some of its own. */
  private void copy(Map<String, List<TensorInfo>> more, Map<String, byte[]> files, boolean force)
      throws IOException {
    try (ModelFolder source = ModelFolder.open(in);
        CheckpointWriter writer =
            ModelFolder.create(out, source, plan(source, more), files, force)) {
      for (String tensor : source.tensors().keySet()) {
        writer.write(tensor, 0, ByteBuffer.wrap(ModelFolderTest.read(source, tensor)));
      }
      for (List<TensorInfo> tensors : more.values()) {
        for (TensorInfo tensor : tensors) {
          writer.write(tensor.name(), 0, ByteBuffer.allocate((int) tensor.bytes()));
        }
      }
      assertFalse(Files.exists(out.resolve("config.json")) && !force);
      writer.commit();
    }
  }

  private void copy() throws IOException {
    copy(Map.of(), Map.of(), false);
  }

  private static CheckpointPlan plan(ModelFolder source, Map<String, List<TensorInfo>> more) {
    Map<String, List<TensorInfo>> outputs = new LinkedHashMap<>();
    CheckpointPlan.copyOf(source, Map.of()).outputs().forEach(outputs::put);
    more.forEach(
        (name, tensors) ->
            outputs.merge(
                name,
                tensors,
                (own, added) ->
                    java.util.stream.Stream.concat(own.stream(), added.stream()).toList()));
    return new CheckpointPlan(outputs, Map.of("format", "pt"));
  }

  private static CheckpointException refused(Executable action, String... parts) {
    CheckpointException e = assertThrows(CheckpointException.class, action);
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage() + "\nlacks: " + part);
    }
    assertFalse(e.getMessage().contains("\n") || e.getMessage().endsWith("."), e.getMessage());
    return e;
  }

  @Test
  void aCopyHasTheSameShardsIndexAndFiles() throws IOException {
    TestModels.llama(in, 1);
    Files.createDirectories(in.resolve("extra/deep"));
    Files.writeString(in.resolve("extra/deep/notes.txt"), "notes");
    copy();
    assertEquals(names(in), names(out));
    for (String shard : TestModels.LLAMA_SHARDS) {
      Map<String, Stored> expected = TestCheckpoint.read(in.resolve(shard));
      Map<String, Stored> actual = TestCheckpoint.read(out.resolve(shard));
      assertEquals(expected.keySet(), actual.keySet());
      expected.forEach(
          (name, tensor) -> assertArrayEquals(tensor.data(), actual.get(name).data(), name));
    }
    for (String name : List.of("config.json", "tokenizer.json", "extra/deep/notes.txt")) {
      assertArrayEquals(
          Files.readAllBytes(in.resolve(name)), Files.readAllBytes(out.resolve(name)), name);
    }
    try (ModelFolder copied = ModelFolder.open(out)) {
      ModelFolderTest.assertHolds(TestModels.llamaTensors(1), copied);
    }
    assertEquals(List.of("in", "out"), names(folder));
  }

  @Test
  void whatComesFromATensorIsInItsShardAndInTheIndex() throws IOException {
    TestModels.llama(in, 2);
    String weight = "model.layers.0.self_attn.q_proj.weight";
    copy(
        Map.of(weight, List.of(TensorInfo.of(weight + "_scale", DType.F32, 128, 1))),
        Map.of(),
        false);
    String index = Files.readString(out.resolve(INDEX));
    try (ModelFolder copied = ModelFolder.open(out)) {
      assertEquals(copied.shardNameOf(weight), copied.shardNameOf(weight + "_scale"));
    }
    long bytes = 4 * 128;
    for (Stored tensor : TestModels.llamaTensors(2).values()) {
      bytes += tensor.data().length;
    }
    assertTrue(index.contains("\"total_size\" : " + bytes), index);
    for (String name : TestModels.llamaTensors(2).keySet()) {
      assertTrue(index.contains("\"" + name + "\" : \"model-0000"), name);
    }
  }

  @Test
  void pyTorchShardsBecomeSafetensors() throws IOException {
    Map<String, Stored> tensors = TestModels.llamaTensors(3);
    List<Map<String, Stored>> shards = TestModels.shards(tensors, 2);
    Files.createDirectory(in);
    Map<String, String> map = new LinkedHashMap<>();
    for (int i = 0; i < 2; i++) {
      String name = "pytorch_model-0000" + (i + 1) + "-of-00002.bin";
      TestModels.writePyTorch(in.resolve(name), shards.get(i));
      shards.get(i).keySet().forEach(tensor -> map.put(tensor, name));
    }
    Files.writeString(in.resolve("pytorch_model.bin.index.json"), TestModels.index(map, 0));
    copy();
    assertEquals(
        List.of("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX),
        names(out));
    try (ModelFolder copied = ModelFolder.open(out)) {
      ModelFolderTest.assertHolds(tensors, copied);
    }
  }

  @Test
  void namesOfShardsFollowTheirInputs() {
    assertEquals("model.safetensors", FolderWriter.outputName("model.safetensors"));
    assertEquals("model.safetensors", FolderWriter.outputName("pytorch_model.bin"));
    assertEquals("consolidated.00.safetensors", FolderWriter.outputName("consolidated.00.pth"));
    assertEquals("weights.safetensors", FolderWriter.outputName("weights"));
    assertEquals("config.json.safetensors", FolderWriter.outputName("config.json"));
  }

  @Test
  void oneFileStaysOneFileWithoutAnIndex() throws IOException {
    TestModels.bertOfPyTorch(in, 4);
    Files.writeString(in.resolve("tf_model.h5"), "old weights");
    copy();
    assertEquals(
        List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        names(out));
    try (ModelFolder copied = ModelFolder.open(out)) {
      ModelFolderTest.assertHolds(TestModels.bertTensors(4), copied);
    }
  }

  @Test
  void filesAreWrittenInThePlaceOfTheSources() throws IOException {
    TestModels.bert(in, 5);
    byte[] config = "{\"rewritten\": true}".getBytes(StandardCharsets.UTF_8);
    copy(Map.of(), Map.of("config.json", config, "NOTICE", new byte[] {1}), false);
    assertArrayEquals(config, Files.readAllBytes(out.resolve("config.json")));
    assertArrayEquals(new byte[] {1}, Files.readAllBytes(out.resolve("NOTICE")));
    for (String name : List.of("../x", "a/b", "", "..", "model.safetensors", INDEX, "x.bin")) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> copy(Map.of(), Map.of(name, new byte[0]), true));
      assertTrue(e.getMessage().contains("plain name"), e.getMessage());
    }
    assertEquals(List.of("in", "out"), names(folder));
  }

  @Test
  void missingBytesAndTensorsThatAreNotAnnouncedAreErrors() throws IOException {
    TestModels.llama(in, 6);
    try (ModelFolder source = ModelFolder.open(in);
        CheckpointWriter writer =
            ModelFolder.create(out, source, plan(source, Map.of()), Map.of(), false)) {
      assertThrows(
          IllegalArgumentException.class, () -> writer.write("x", 0, ByteBuffer.allocate(1)));
      refused(writer::commit, "was not written: of tensor");
    }
    assertEquals(List.of("in"), names(folder));
  }

  @Test
  void anExistingFolderIsReplacedOnlyIfAskedAndOnlyAtTheCommit() throws IOException {
    TestModels.llama(in, 7);
    TestModels.bert(out, 7);
    refused(this::copy, "exists already; give --force");
    try (ModelFolder source = ModelFolder.open(in);
        CheckpointWriter writer =
            ModelFolder.create(out, source, plan(source, Map.of()), Map.of(), true)) {
      assertEquals(3, names(folder).size());
      refused(writer::commit, "was not written");
    }
    assertTrue(Files.exists(out.resolve("model.safetensors")));
    copy(Map.of(), Map.of(), true);
    assertEquals(names(in), names(out));
    assertEquals(List.of("in", "out"), names(folder));
  }

  @Test
  void onlyFoldersThatAreEmptyOrOfAModelAreReplaced() throws IOException {
    TestModels.bert(in, 8);
    Files.createDirectory(out);
    copy(Map.of(), Map.of(), true);
    assertEquals(names(in), names(out));
    Files.writeString(out.resolve(".bashrc"), "");
    refused(() -> copy(Map.of(), Map.of(), true), "even with --force: it holds '.bashrc'");
    Files.delete(out.resolve(".bashrc"));
    Files.delete(out.resolve("model.safetensors"));
    refused(() -> copy(Map.of(), Map.of(), true), "neither empty nor the folder of a model");
    TemporaryFiles.delete(out);
    Path file = Files.writeString(folder.resolve("file"), "");
    Files.createSymbolicLink(out, file);
    refused(() -> copy(Map.of(), Map.of(), true), "is a file, but the input is a folder");
    Files.delete(out);
    Path other = TestModels.bert(folder.resolve("other"), 8);
    Files.createSymbolicLink(out, other);
    refused(() -> copy(Map.of(), Map.of(), true), "it is a symbolic link");
    Files.delete(out);
    Files.writeString(out, "");
    refused(() -> copy(Map.of(), Map.of(), true), "is a file, but the input is a folder");
    refused(() -> copy(Map.of(), Map.of(), false), "is a file, but the input is a folder");
    Files.delete(out);
    assertEquals(List.of("file", "in", "other"), names(folder));
  }

  @Test
  void theHomeFolderIsNeverReplaced() throws IOException {
    TestModels.bert(in, 9);
    Path home = TestModels.bert(out, 9);
    String before = System.setProperty("user.home", home.resolve("sub").toString());
    try {
      refused(() -> copy(Map.of(), Map.of(), true), "it holds the home folder");
    } finally {
      System.setProperty("user.home", before);
    }
    assertTrue(Files.exists(home.resolve("model.safetensors")));
  }

  @Test
  void anOutputInsideOrAroundTheInputIsRefused() throws IOException {
    in = TestModels.bert(folder.resolve("a/in"), 10);
    Path link = Files.createSymbolicLink(folder.resolve("link"), in);
    for (Path place : List.of(in, link, in.resolve("../in"))) {
      out = place;
      refused(() -> copy(Map.of(), Map.of(), true), "is the input itself");
    }
    for (Path place : List.of(in.resolve("new"), link.resolve("new"))) {
      out = place;
      refused(() -> copy(Map.of(), Map.of(), false), "lies inside the input");
    }
    out = folder.resolve("a");
    Files.copy(in.resolve("model.safetensors"), out.resolve("model.safetensors"));
    refused(() -> copy(Map.of(), Map.of(), true), "contains the input");
    assertEquals(4, names(in).size());
  }

  @Test
  void aTargetThatAppearsMeanwhileIsNotLost() throws IOException {
    TestModels.bert(in, 11);
    try (ModelFolder source = ModelFolder.open(in);
        CheckpointWriter writer =
            ModelFolder.create(out, source, plan(source, Map.of()), Map.of(), false)) {
      for (String tensor : source.tensors().keySet()) {
        writer.write(tensor, 0, ByteBuffer.wrap(ModelFolderTest.read(source, tensor)));
      }
      Files.createDirectory(out);
      Files.writeString(out.resolve("mine"), "mine");
      refused(writer::commit, "exists already");
    }
    assertEquals(List.of("mine"), names(out));
    assertEquals(List.of("in", "out"), names(folder));
  }

  @Test
  void shardsThatWouldHaveOneNameAreRefused() throws IOException {
    Files.createDirectory(in);
    new TestCheckpoint().floats("a", new float[1], 1).write(in.resolve("model.bin"));
    new TestCheckpoint().floats("b", new float[1], 1).write(in.resolve("model.pt"));
    Files.writeString(
        in.resolve(INDEX), TestModels.index(Map.of("a", "model.bin", "b", "model.pt"), 8));
    refused(this::copy, "both would be written as 'model.safetensors'");
    assertEquals(List.of("in"), names(folder));
  }

  @Test
  void shardsWithoutTensorsAreLeftOut() throws IOException {
    Files.createDirectory(in);
    new TestCheckpoint().floats("a", new float[1], 1).write(in.resolve("a.bin"));
    new TestCheckpoint().floats("b", new float[1], 1).write(in.resolve("b.bin"));
    Files.writeString(in.resolve(INDEX), TestModels.index(Map.of("a", "a.bin", "b", "b.bin"), 8));
    try (ModelFolder source = ModelFolder.open(in)) {
      CheckpointPlan plan =
          new CheckpointPlan(
              Map.of("unknown", List.of(), "b", List.of(source.tensors().get("b"))), Map.of());
      try (CheckpointWriter writer = ModelFolder.create(out, source, plan, Map.of(), false)) {
        writer.write("b", 0, ByteBuffer.allocate(4));
        writer.commit();
      }
    }
    assertEquals(List.of("b.safetensors", INDEX), names(out));
  }

  @Test
  void placesWhereNothingCanBeCreated() throws IOException {
    TestModels.bert(in, 12);
    out = folder.resolve("missing/out");
    refused(this::copy, "missing' does not exist; create that folder first");
    out = Files.writeString(folder.resolve("file"), "").resolve("out");
    refused(this::copy, "file' is not a folder");
    out = Path.of("/proc/sinew-test");
    refused(this::copy, "cannot create a folder in '/proc'", "choose another place");
    out = folder.resolve("x".repeat(256));
    refused(this::copy, "File name too long");
    assertEquals(List.of("file", "in"), names(folder));
  }

  @Test
  void anInterruptLeavesNothing() throws IOException {
    TestModels.llama(in, 13);
    TestModels.bert(out, 13);
    try (ModelFolder source = ModelFolder.open(in);
        CheckpointWriter writer =
            ModelFolder.create(out, source, plan(source, Map.of()), Map.of(), true)) {
      Thread.currentThread().interrupt();
      refused(() -> writer.write("lm_head.weight", 0, ByteBuffer.allocate(8)), "was interrupted");
      assertTrue(Thread.interrupted());
      refused(() -> writer.write("lm_head.weight", 0, ByteBuffer.allocate(8)), "was closed before");
      refused(writer::commit);
    } finally {
      Thread.interrupted();
    }
    assertEquals(List.of("in", "out"), names(folder));
    assertTrue(Files.exists(out.resolve("model.safetensors")));
  }

  @Test
  void whatIsReplacedHasItsNameAgainIfTheSystemRefuses() throws IOException {
    TestModels.bert(out, 14);
    Path gone = folder.resolve("gone");
    assertThrows(IOException.class, () -> TemporaryFiles.publish(gone, out, true));
    assertThrows(FileAlreadyExistsException.class, () -> TemporaryFiles.publish(gone, out, false));
    assertEquals(List.of("out"), names(folder));
    assertTrue(Files.exists(out.resolve("model.safetensors")));
  }

  /** The new folder under its final name, the old one as it was, and nothing else. */
  @Test
  @Timeout(60)
  void sigtermInMidWriteLeavesTheOldFolderOnly() throws Exception {
    TestModels.llama(in, 15);
    TestModels.bert(out, 15);
    Process child = ChildProgram.start("64m", "write-folder", folder);
    assertEquals("writing", child.inputReader().readLine());
    assertEquals(3, names(folder).size());
    Thread.sleep(50);
    child.destroy();
    assertTrue(child.waitFor(30, TimeUnit.SECONDS));
    assertEquals(128 + 15, child.exitValue());
    assertEquals(List.of("in", "out"), names(folder));
    try (ModelFolder old = ModelFolder.open(out)) {
      ModelFolderTest.assertHolds(TestModels.bertTensors(15), old);
    }
  }

  /** Nobody can clean up after SIGKILL, but the old folder is whole and the name was never lost. */
  @Test
  @Timeout(60)
  void sigkillInMidWriteLeavesTheOldFolderAsItWas() throws Exception {
    TestModels.llama(in, 16);
    TestModels.bert(out, 16);
    Process child = ChildProgram.start("64m", "write-folder", folder);
    assertEquals("writing", child.inputReader().readLine());
    child.destroyForcibly();
    assertTrue(child.waitFor(30, TimeUnit.SECONDS));
    try (ModelFolder old = ModelFolder.open(out)) {
      ModelFolderTest.assertHolds(TestModels.bertTensors(16), old);
    }
    List<String> left = names(folder);
    assertEquals(3, left.size());
    assertTrue(left.get(0).startsWith(".out.") && left.get(0).endsWith(".tmp"), left.toString());
  }

  /** A limit on file sizes makes the system refuse in mid-write, as a full disk does. */
  @Test
  @Timeout(60)
  void aSystemThatRefusesInMidWriteIsOneSentenceAndLeavesNothing() throws Exception {
    TestModels.llama(in, 17);
    Process child =
        ChildProgram.start(
            "64m", "write-folder", folder, "sh", "-c", "ulimit -f 100 && exec \"$@\"", "sh");
    List<String> lines = child.inputReader().lines().toList();
    assertEquals(1, child.waitFor());
    assertEquals(2, lines.size(), lines.toString());
    assertTrue(lines.get(1).startsWith("cannot write '" + out + "/model-0000"), lines.get(1));
    assertTrue(lines.get(1).endsWith("File too large; the file was not written"), lines.get(1));
    assertEquals(List.of("in"), names(folder));
  }
}
