package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.TensorInfo;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The rule: floating tensors of two or more dimensions named {@code *.weight} or {@code *.weight_*}
 * or listed by a target, without embeddings, norms, lm_head and what a skip names.
 */
class TargetsTest {
  private static TensorInfo matrix(String name) {
    return TensorInfo.of(name, DType.F32, 4, 4);
  }

  private static Optional<String> byDefault(TensorInfo tensor) {
    return Targets.byDefault().reasonToSkip(tensor);
  }

  /** Names of real models, with the reason they are left alone or nothing. */
  @ParameterizedTest
  @CsvSource({
    // Llama
    "model.layers.0.self_attn.q_proj.weight,",
    "model.layers.31.mlp.down_proj.weight,",
    "model.embed_tokens.weight, embedding",
    "model.layers.0.input_layernorm.weight, norm",
    "model.norm.weight, norm",
    "lm_head.weight, lm_head",
    "tok_embeddings.weight, embedding",
    "layers.0.attention_norm.weight, norm",
    // BERT
    "bert.embeddings.word_embeddings.weight, embedding",
    "bert.embeddings.LayerNorm.weight, embedding",
    "bert.encoder.layer.0.attention.self.query.weight,",
    "bert.encoder.layer.0.attention.output.LayerNorm.weight, norm",
    "bert.pooler.dense.weight,",
    // GPT-2 and relatives
    "wte.weight, embedding",
    "transformer.wpe.weight, embedding",
    "h.0.attn.c_attn.weight,",
    "h.0.ln_1.weight, norm",
    "ln_f.weight, norm",
    "pos_emb.weight, embedding",
    "shared.weight, embedding",
    "model.shared.weight, embedding",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight, embedding",
    "encoder.block.0.layer.0.SelfAttention.q.weight,",
    "layers.0.mlp.shared.weight,",
    "model.layers.0.mlp.shared_expert.up_proj.weight,",
    "blocks.0.ln1.weight, norm",
    // ViT
    "vit.embeddings.patch_embeddings.projection.weight, embedding",
    "patch_embed.proj.weight, embedding",
    "vit.encoder.layer.0.layernorm_before.weight, norm",
    "blocks.0.attn.qkv.weight,",
    "head.weight,",
    // ResNet
    "conv1.weight,",
    "layer1.0.bn1.weight, norm",
    "layer1.0.conv2.weight,",
    "layer2.0.downsample.0.weight,",
    "bn.weight, norm",
    "fc.weight,",
    // Whisper
    "model.encoder.conv1.weight,",
    "model.decoder.embed_positions.weight, embedding",
    "model.decoder.layers.0.self_attn_layer_norm.weight, norm",
    "model.decoder.layers.0.encoder_attn.k_proj.weight,",
    // silero-vad and other recurrent networks
    "_model.decoder.rnn.weight_ih,",
    "_model.decoder.rnn.weight_hh,",
    "lstm.weight_ih_l0_reverse,",
    "_model.stft.forward_basis_buffer, not a weight by its name",
    // Names that only look alike
    "weight,",
    "fc.weights, not a weight by its name",
    "fc.weight.data, not a weight by its name",
    "fc.bias, not a weight by its name",
    "lm_head_proj.weight,",
    "kiln.weight,",
    "bnb.weight,",
    // Words that say norm, and words that only contain it
    "block.RMSNorm_0.weight, norm",
    "batch_normalization_1.weight, norm",
    "layernormalization.weight, norm",
    "blocks.0.norm1.weight, norm",
    "attn.q_norm.weight, norm",
    "attn.qnorm.weight, norm",
    "adaLN.normLayer.weight, norm",
    "adain.normlayer.weight, norm",
    "FrozenBatchNorm2d.weight, norm",
    "layernorm_qkv.weight, norm",
    "layers.0.norms.1.weight, norm",
    "layers.0.feed_forward_layer_norm.0.weight, norm",
    "enormous.weight,",
    "abnormal_head.weight,",
    "surface_normals.weight,",
    "normal.weight,",
    "informant.weight,"
  })
  void namesOfRealModels(String name, String reason) {
    assertEquals(Optional.ofNullable(reason), byDefault(matrix(name)));
  }

  @Test
  void onlyFloatingMatrices() {
    assertTrue(byDefault(TensorInfo.of("fc.weight", DType.F32, 4)).get().contains("dimensions"));
    assertTrue(byDefault(TensorInfo.of("fc.weight", DType.F32)).get().contains("dimensions"));
    assertTrue(byDefault(TensorInfo.of("fc.weight", DType.F32, 4, 0)).get().contains("elements"));
    assertEquals(Optional.empty(), byDefault(TensorInfo.of("fc.weight", DType.F16, 2, 3, 4)));
    for (DType dtype : DType.values()) {
      Optional<String> reason = byDefault(TensorInfo.of("fc.weight", dtype, 8, 8));
      assertEquals(!dtype.isFloating(), reason.isPresent());
      reason.ifPresent(text -> assertTrue(text.contains(dtype.name()), text));
    }
  }

  @Test
  void targetsAddAndSkipsTakeAwayLast() {
    Targets targets = new Targets(List.of("*.kernel", "lm_head.*"), List.of("*.q_proj.*", "?.w*"));
    assertEquals(Optional.empty(), targets.reasonToSkip(matrix("dense.kernel")));
    assertEquals(Optional.empty(), targets.reasonToSkip(matrix("lm_head.weight")));
    assertEquals(Optional.empty(), targets.reasonToSkip(matrix("k_proj.weight")));
    assertEquals(
        Optional.of("matches --skip *.q_proj.*"),
        targets.reasonToSkip(matrix("layers.0.q_proj.weight")));
    assertEquals(Optional.of("matches --skip ?.w*"), targets.reasonToSkip(matrix("a.weight")));
    assertEquals(
        Optional.of("matches --skip *.q_proj.*"), targets.reasonToSkip(matrix("a.q_proj.kernel")));
    // A target names tensors; it does not make them quantizable.
    assertTrue(targets.reasonToSkip(TensorInfo.of("a.kernel", DType.I64, 2, 2)).isPresent());
    assertTrue(targets.reasonToSkip(TensorInfo.of("a.kernel", DType.F32, 2)).isPresent());
  }

  @Test
  void patternsThatMatchNothingAreFound() {
    List<String> names = List.of("a.weight", "b.bias");
    Targets targets =
        new Targets(List.of("*.weight", "*.kernel"), List.of("*.bais", "b.*", "*.bais", "B.*"));
    assertEquals(
        List.of("--targets *.kernel", "--skip *.bais", "--skip B.*"), targets.unmatched(names));
    assertEquals(List.of(), Targets.byDefault().unmatched(names));
    assertEquals(List.of("--skip *"), new Targets(List.of(), List.of("*")).unmatched(List.of()));
  }

  @Test
  void strangeNamesAreFast() {
    for (String name : List.of("", ".", "..weight", "\n.weight", "\ud800.weight")) {
      byDefault(matrix(name));
    }
    String huge = "ln" + "1".repeat(1_000_000) + "x" + ".a".repeat(1_000_000) + ".weight";
    assertTimeoutPreemptively(
        Duration.ofSeconds(10), () -> assertEquals(Optional.empty(), byDefault(matrix(huge))));
  }
}
