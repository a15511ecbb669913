package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.cli.TestCheckpoint;
import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelFolderTest {
  @TempDir Path folder;

  static byte[] read(Checkpoint checkpoint, String tensor) throws IOException {
    ByteBuffer data = ByteBuffer.allocate((int) checkpoint.tensors().get(tensor).bytes());
    checkpoint.read(tensor, 0, data);
    return data.array();
  }

  static void assertHolds(Map<String, Stored> expected, Checkpoint checkpoint) throws IOException {
    assertEquals(expected.keySet(), checkpoint.tensors().keySet());
    for (Map.Entry<String, Stored> entry : expected.entrySet()) {
      String name = entry.getKey();
      assertEquals(entry.getValue().dtype(), checkpoint.tensors().get(name).dtype().name());
      assertEquals(entry.getValue().shape(), checkpoint.tensors().get(name).shape());
      assertArrayEquals(entry.getValue().data(), read(checkpoint, name), name);
    }
  }

  @Test
  void isTheUnionOfItsShards() throws IOException {
    TestModels.llama(folder, 1);
    try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
      assertEquals(folder, checkpoint.path());
      assertEquals("safetensors in 3 shards", checkpoint.format());
      assertEquals(Map.of("format", "pt"), checkpoint.metadata());
      Map<String, Stored> expected = TestModels.llamaTensors(1);
      assertHolds(expected, checkpoint);
      assertEquals(
          List.copyOf(expected.keySet()), List.copyOf(checkpoint.tensors().keySet()), "order");
      ModelFolder model = assertInstanceOf(ModelFolder.class, checkpoint);
      assertEquals(TestModels.LLAMA_SHARDS, model.shardNames());
      assertEquals(
          Optional.of(TestModels.LLAMA_SHARDS.get(2)), model.shardNameOf("lm_head.weight"));
      assertEquals(Optional.empty(), model.shardNameOf("none"));
      ModelFiles files = model.files();
      assertEquals(List.of(), files.leftOut());
      assertEquals(
          List.of(
              "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
          files.copied());
    }
  }

  @Test
  void regionsLieInTheShards() throws IOException {
    TestModels.llama(folder, 2);
    try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
      for (Map.Entry<String, Stored> entry : TestModels.llamaTensors(2).entrySet()) {
        Checkpoint.FileRegion region = checkpoint.region(entry.getKey()).orElseThrow();
        assertEquals(entry.getValue().data().length, region.bytes());
        byte[] data = new byte[(int) region.bytes()];
        try (var channel = Files.newByteChannel(region.file(), StandardOpenOption.READ)) {
          channel.position(region.offset()).read(ByteBuffer.wrap(data));
        }
        assertArrayEquals(entry.getValue().data(), data, entry.getKey());
      }
    }
  }

  @Test
  void oneFileNeedsNoIndex() throws IOException {
    try (Checkpoint checkpoint = CheckpointFormat.open(TestModels.bert(folder, 3))) {
      assertHolds(TestModels.bertTensors(3), checkpoint);
      assertEquals("safetensors", checkpoint.format());
    }
    Path torch = TestModels.bertOfPyTorch(folder.resolve("torch"), 3);
    try (Checkpoint checkpoint = CheckpointFormat.open(torch)) {
      assertHolds(TestModels.bertTensors(3), checkpoint);
      assertEquals("PyTorch zip", checkpoint.format());
    }
  }

  @Test
  void shardsOfPyTorchAndOfBothFormatsAreRead() throws IOException {
    Map<String, Stored> tensors = TestModels.llamaTensors(4);
    List<Map<String, Stored>> shards = TestModels.shards(tensors, 2);
    TestModels.writePyTorch(folder.resolve("a.bin"), shards.get(0));
    TestModels.writeSafeTensors(folder.resolve("b.bin"), shards.get(1));
    Map<String, String> map = new LinkedHashMap<>();
    shards.get(0).keySet().forEach(name -> map.put(name, "a.bin"));
    shards.get(1).keySet().forEach(name -> map.put(name, "b.bin"));
    Files.writeString(folder.resolve("pytorch_model.bin.index.json"), TestModels.index(map, 12345));
    try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
      assertHolds(tensors, checkpoint);
      assertEquals("PyTorch zip and safetensors in 2 shards", checkpoint.format());
    }
  }

  @Test
  void shardsWithoutTheirIndex() throws IOException {
    for (String index : List.of("model.safetensors.index.json", "pytorch_model.bin.index.json")) {
      Path model = folder.resolve(index);
      String stem = index.substring(0, index.indexOf('.'));
      String suffix = index.startsWith("model") ? ".safetensors" : ".bin";
      List<Map<String, Stored>> shards = TestModels.shards(TestModels.llamaTensors(1), 2);
      Files.createDirectories(model);
      for (int i = 0; i < 2; i++) {
        Path shard = model.resolve(stem + "-0000" + (i + 1) + "-of-00002" + suffix);
        TestModels.writeSafeTensors(shard, shards.get(i));
      }
      String message =
          assertThrows(CheckpointException.class, () -> CheckpointFormat.open(model)).getMessage();
      assertEquals(
          "'"
              + model
              + "' has shards of a model, such as '"
              + stem
              + "-00001-of-00002"
              + suffix
              + "', but not the index that lists them, '"
              + index
              + "'; download or save the index too",
          message);
    }
  }

  /** Each of the four names counts only where those before it are missing. */
  @Test
  void safetensorsComeBeforePyTorchAndAnIndexBeforeAFile() throws IOException {
    TestCheckpoint one = new TestCheckpoint().floats("one", new float[] {1}, 1);
    one.write(folder.resolve("pytorch_model.bin"));
    assertOpensTo("one");
    new TestCheckpoint().floats("two", new float[] {1}, 1).write(folder.resolve("shard-2"));
    Files.writeString(
        folder.resolve("pytorch_model.bin.index.json"),
        TestModels.index(Map.of("two", "shard-2"), 4));
    assertOpensTo("two");
    new TestCheckpoint()
        .floats("three", new float[] {1}, 1)
        .write(folder.resolve("model.safetensors"));
    assertOpensTo("three");
    new TestCheckpoint().floats("four", new float[] {1}, 1).write(folder.resolve("shard-4"));
    Files.writeString(
        folder.resolve("model.safetensors.index.json"),
        TestModels.index(Map.of("four", "shard-4"), 4));
    assertOpensTo("four");
  }

  private void assertOpensTo(String tensor) throws IOException {
    try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
      assertEquals(List.of(tensor), List.copyOf(checkpoint.tensors().keySet()));
    }
  }

  private void index(Map<String, String> weightMap) throws IOException {
    Files.writeString(
        folder.resolve("model.safetensors.index.json"), TestModels.index(weightMap, 0));
  }

  @Test
  void theIndexDecidesWhereTwoShardsHoldATensor() throws IOException {
    new TestCheckpoint()
        .floats("both", new float[] {1}, 1)
        .floats("unlisted", new float[] {3}, 1)
        .write(folder.resolve("a"));
    new TestCheckpoint()
        .floats("both", new float[] {2}, 1)
        .floats("b", new float[] {4}, 1)
        .write(folder.resolve("b"));
    index(Map.of("both", "b", "b", "b", "unlisted", "a"));
    for (boolean listed : new boolean[] {true, false}) {
      if (!listed) {
        new TestCheckpoint()
            .floats("both", new float[] {1}, 1)
            .floats("a", new float[] {5}, 1)
            .floats("unlisted", new float[] {3}, 1)
            .write(folder.resolve("a"));
        index(Map.of("both", "b", "b", "b", "a", "a"));
      }
      try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
        assertArrayEquals(TestCheckpoint.bytes(2), read(checkpoint, "both"));
        assertArrayEquals(TestCheckpoint.bytes(3), read(checkpoint, "unlisted"));
      }
    }
    index(Map.of("b", "b", "a", "a"));
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> CheckpointFormat.open(folder));
    assertTrue(e.getMessage().contains("tensor 'both' in both 'a' and 'b'"), e.getMessage());
  }

  @Test
  void manyThreadsReadThroughAPoolOfFewFiles() throws Exception {
    Map<String, Stored> tensors = TestModels.llamaTensors(5);
    List<Map<String, Stored>> shards = TestModels.shards(tensors, 10);
    Map<String, String> map = new LinkedHashMap<>();
    for (int i = 0; i < shards.size(); i++) {
      String name = "shard-" + i;
      TestModels.writeSafeTensors(folder.resolve(name), shards.get(i));
      shards.get(i).keySet().forEach(tensor -> map.put(tensor, name));
    }
    index(map);
    ChannelPool pool = new ChannelPool(2);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Checkpoint checkpoint = ModelFolder.open(folder, pool)) {
      List<Future<?>> jobs = new ArrayList<>();
      for (int job = 0; job < 4; job++) {
        Random random = new Random(job);
        jobs.add(
            threads.submit(
                () -> {
                  List<String> names = List.copyOf(tensors.keySet());
                  for (int i = 0; i < 200; i++) {
                    String name = names.get(random.nextInt(names.size()));
                    assertArrayEquals(tensors.get(name).data(), read(checkpoint, name), name);
                  }
                  return null;
                }));
      }
      for (Future<?> job : jobs) {
        job.get();
      }
      assertTrue(pool.openFiles() <= 2, pool.openFiles() + " files are open");
    } finally {
      threads.shutdownNow();
    }
    assertEquals(0, pool.openFiles());
  }

  @Test
  void aShardThatIsReplacedWhileItIsClosedIsNoticed() throws IOException {
    TestModels.llama(folder, 6);
    try (Checkpoint checkpoint = ModelFolder.open(folder, new ChannelPool(1))) {
      String last = "lm_head.weight";
      String first = "model.embed_tokens.weight";
      read(checkpoint, first);
      Path shard = folder.resolve(TestModels.LLAMA_SHARDS.get(2));
      byte[] content = Files.readAllBytes(shard);
      Files.move(shard, folder.resolve("kept so that its number is not used again"));
      Files.write(shard, content);
      CheckpointException e = assertThrows(CheckpointException.class, () -> read(checkpoint, last));
      assertTrue(e.getMessage().contains("replaced by another file"), e.getMessage());
      read(checkpoint, first);
    }
  }

  @Test
  void aShardThatShrinksIsNoticed() throws IOException {
    TestModels.llama(folder, 7);
    try (Checkpoint checkpoint = CheckpointFormat.open(folder)) {
      Path shard = folder.resolve(TestModels.LLAMA_SHARDS.get(2));
      try (var channel = Files.newByteChannel(shard, StandardOpenOption.WRITE)) {
        channel.truncate(5000);
      }
      CheckpointException e =
          assertThrows(CheckpointException.class, () -> read(checkpoint, "lm_head.weight"));
      assertTrue(e.getMessage().contains("become shorter"), e.getMessage());
      assertTrue(e.getMessage().contains(shard.toString()), e.getMessage());
    }
  }

  @Test
  void readingAfterTheCloseIsAnError() throws IOException {
    Checkpoint checkpoint = CheckpointFormat.open(TestModels.llama(folder, 8));
    checkpoint.close();
    checkpoint.close();
    CheckpointException e =
        assertThrows(CheckpointException.class, () -> read(checkpoint, "lm_head.weight"));
    assertTrue(e.getMessage().contains("is closed"), e.getMessage());
    assertThrows(
        IllegalArgumentException.class, () -> checkpoint.read("x", 0, ByteBuffer.allocate(1)));
    assertThrows(IllegalArgumentException.class, () -> checkpoint.region("x"));
  }

  @Test
  void moreShardsThanAProcessMayOpen() throws Exception {
    Map<String, String> map = new LinkedHashMap<>();
    for (int i = 0; i < 300; i++) {
      String name = String.format("model-%05d-of-00300.safetensors", i + 1);
      new TestCheckpoint().floats("t" + i, new float[] {i}, 1).write(folder.resolve(name));
      map.put("t" + i, name);
    }
    index(map);
    try (ModelFolder checkpoint = ModelFolder.open(folder)) {
      assertEquals(300, checkpoint.tensors().size());
      for (int i = 0; i < 300; i += 7) {
        assertArrayEquals(TestCheckpoint.bytes(i), read(checkpoint, "t" + i));
      }
    }
    Process child =
        ChildProgram.start(
            "64m", "open-folder", folder, "sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh");
    assertEquals(List.of("300 tensors"), child.inputReader().lines().toList());
    assertEquals(0, child.waitFor());
  }

  @Test
  void otherFilesAreToldApartByTheirNames() throws IOException {
    TestModels.bert(folder, 9);
    for (String name :
        List.of(
            "pytorch_model.bin",
            "model.fp16.SafeTensors",
            "tf_model.h5",
            "flax_model.msgpack",
            "pytorch_model.bin.index.json",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
            "model.Q4.gguf",
            "original/params.json",
            ".git/objects/pack",
            ".gitattributes",
            ".cache/huggingface/x",
            "bin",
            "tokenizer.model")) {
      Path file = folder.resolve(name);
      Files.createDirectories(file.getParent());
      Files.writeString(file, name);
    }
    try (ModelFolder model = ModelFolder.open(folder)) {
      assertEquals(
          List.of(
              ".gitattributes",
              "config.json",
              "original/params.json",
              "tokenizer.json",
              "tokenizer.model",
              "tokenizer_config.json"),
          model.files().copied().stream().filter(name -> !name.equals("bin")).toList());
      assertEquals(
          List.of(
              ".cache/",
              ".git/",
              "flax_model.msgpack",
              "model.Q4.gguf",
              "model.fp16.SafeTensors",
              "onnx/model.onnx",
              "original/consolidated.00.pth",
              "pytorch_model.bin",
              "pytorch_model.bin.index.json",
              "tf_model.h5"),
          model.files().leftOut());
      assertTrue(model.files().copied().contains("bin"));
      assertFalse(model.hasIndex());
    }
  }
}
