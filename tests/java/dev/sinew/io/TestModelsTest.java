package dev.sinew.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.sinew.cli.TestCheckpoint;
import dev.sinew.cli.TestCheckpoint.Stored;
import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** That the models of tests are what they say. */
class TestModelsTest {
  @TempDir Path folder;

  @Test
  void aLlamaHasThreeShardsThatTogetherAreTheModel() throws IOException {
    TestModels.llama(folder, 1);
    assertEquals(
        List.of(
            "config.json",
            "generation_config.json",
            TestModels.LLAMA_SHARDS.get(0),
            TestModels.LLAMA_SHARDS.get(1),
            TestModels.LLAMA_SHARDS.get(2),
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json"),
        SafeTensorsFiles.names(folder));
    Set<String> names = new HashSet<>();
    for (String shard : TestModels.LLAMA_SHARDS) {
      Map<String, Stored> tensors = TestCheckpoint.read(folder.resolve(shard));
      assertFalse(tensors.isEmpty());
      names.addAll(tensors.keySet());
    }
    assertEquals(TestModels.llamaTensors(1).keySet(), names);
  }

  @Test
  void aSeedGivesTheSameModelAgain() throws IOException {
    byte[] first = Files.readAllBytes(TestModels.bert(folder.resolve("a"), 7).resolve(MODEL));
    byte[] second = Files.readAllBytes(TestModels.bert(folder.resolve("b"), 7).resolve(MODEL));
    byte[] other = Files.readAllBytes(TestModels.bert(folder.resolve("c"), 8).resolve(MODEL));
    assertArrayEquals(first, second);
    assertFalse(Arrays.equals(first, other));
  }

  private static final String MODEL = "model.safetensors";

  @Test
  void bothFormsOfBertHoldTheSameBytes() throws IOException {
    Path file = TestModels.bertOfPyTorch(folder, 2).resolve("pytorch_model.bin");
    try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
      Map<String, Stored> expected = TestModels.bertTensors(2);
      assertEquals(expected.keySet(), checkpoint.tensors().keySet());
      for (Map.Entry<String, Stored> entry : expected.entrySet()) {
        assertEquals(entry.getValue().shape(), checkpoint.tensors().get(entry.getKey()).shape());
        ByteBuffer data = ByteBuffer.allocate(entry.getValue().data().length);
        checkpoint.read(entry.getKey(), 0, data);
        assertArrayEquals(entry.getValue().data(), data.array(), entry.getKey());
      }
    }
  }
}
