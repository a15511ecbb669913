package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.model.TensorInfo;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The names of layers in the real models of each architecture. */
class LinearLayersTest {
  @ParameterizedTest
  @CsvSource({
    "LlamaForCausalLM,llama,model.layers.0.self_attn.q_proj,true",
    "LlamaForCausalLM,llama,model.layers.31.mlp.down_proj,true",
    "LlamaForCausalLM,llama,lm_head,false",
    "LlamaForCausalLM,llama,model.embed_tokens,false",
    "LlamaForCausalLM,llama,model.layers.0.input_layernorm,false",
    "LlamaForCausalLM,llama,model.layers.0.adapter.proj,false",
    "LlamaForCausalLM,llama,vision.model.layers.0.self_attn.q_proj,false",
    "LlamaModel,llama,layers.7.self_attn.o_proj,true",
    "LlamaForSequenceClassification,llama,score,false",
    "MistralForCausalLM,mistral,model.layers.0.self_attn.k_proj,true",
    "Qwen2ForCausalLM,qwen2,model.layers.0.mlp.gate_proj,true",
    "Qwen3ForCausalLM,qwen3,model.layers.0.self_attn.q_norm,false",
    "GemmaForCausalLM,gemma,model.layers.0.mlp.up_proj,true",
    "Gemma2ForCausalLM,gemma2,model.layers.0.self_attn.v_proj,true",
    "Gemma3ForCausalLM,gemma3_text,model.layers.0.self_attn.v_proj,true",
    "Gemma3ForConditionalGeneration,gemma3,language_model.model.layers.0.mlp.up_proj,true",
    "Gemma3ForConditionalGeneration,gemma3,model.language_model.layers.0.mlp.up_proj,true",
    "Gemma3ForConditionalGeneration,gemma3,vision_tower.vision_model.encoder.layers.0.self_attn."
        + "q_proj,false",
    "Phi3ForCausalLM,phi3,model.layers.0.self_attn.qkv_proj,true",
    "Phi3ForCausalLM,phi3,model.layers.0.mlp.gate_up_proj,true",
    "BertModel,bert,encoder.layer.0.attention.self.query,true",
    "BertForMaskedLM,bert,bert.encoder.layer.11.attention.output.dense,true",
    "BertForMaskedLM,bert,bert.encoder.layer.11.intermediate.dense,true",
    "BertForMaskedLM,bert,bert.encoder.layer.11.output.dense,true",
    "BertForMaskedLM,bert,bert.encoder.layer.11.output.LayerNorm,false",
    "BertForMaskedLM,bert,cls.predictions.transform.dense,false",
    "BertModel,bert,pooler.dense,false",
    "RobertaForSequenceClassification,roberta,roberta.encoder.layer.0.output.dense,true",
    "RobertaForSequenceClassification,roberta,classifier.dense,false",
    "XLMRobertaModel,xlm-roberta,encoder.layer.0.attention.self.key,true",
    "CamembertForMaskedLM,camembert,roberta.encoder.layer.0.output.dense,true",
    "ElectraForPreTraining,electra,electra.encoder.layer.0.intermediate.dense,true",
    "DistilBertForMaskedLM,distilbert,distilbert.transformer.layer.0.attention.q_lin,true",
    "DistilBertModel,distilbert,transformer.layer.5.ffn.lin2,true",
    "DistilBertForMaskedLM,distilbert,vocab_transform,false"
  })
  void names(String architecture, String modelType, String module, boolean linear) {
    String tensor = module + ".weight";
    assertEquals(linear, LinearLayers.of(architecture, null).orElseThrow().contains(tensor));
    assertEquals(linear, LinearLayers.of(null, modelType).orElseThrow().contains(tensor));
    assertFalse(LinearLayers.of(architecture, null).orElseThrow().contains(module + ".bias"));
    assertFalse(LinearLayers.stated().contains(tensor));
  }

  /** Relatives that name or compute things differently are not taken for those that are known. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "GPT2LMHeadModel",
        "Qwen2MoeForCausalLM",
        "Qwen2VLForConditionalGeneration",
        "MixtralForCausalLM",
        "Mistral3ForConditionalGeneration",
        "Gemma3nForConditionalGeneration",
        "Phi3VForCausalLM",
        "Phi3SmallForCausalLM",
        "Phi4MMForCausalLM",
        "LlamaForCausalLMEagle3",
        "Llama4ForConditionalGeneration",
        "RobertaPreLayerNormForMaskedLM",
        "AlbertModel",
        "Llama",
        "",
        "ForCausalLM",
        "llamaForCausalLM\n"
      })
  void unknown(String architecture) {
    assertEquals(Optional.empty(), LinearLayers.of(architecture, "llama"));
  }

  @Test
  void unknownTypes() {
    assertEquals(Optional.empty(), LinearLayers.of(null, null));
    assertEquals(Optional.empty(), LinearLayers.of(null, "qwen2_moe"));
    assertEquals(Optional.empty(), LinearLayers.of(null, ""));
  }

  @Test
  void transposed() {
    assertTrue(LinearLayers.isTransposed("GPT2LMHeadModel", null));
    assertTrue(LinearLayers.isTransposed(null, "openai-gpt"));
    assertTrue(LinearLayers.isTransposed("GPT2ForSequenceClassification", "gpt2"));
    assertFalse(LinearLayers.isTransposed("GPTNeoXForCausalLM", "gpt_neox"));
    assertFalse(LinearLayers.isTransposed(null, null));
  }

  private static List<String> besides(String architecture, String... tensors) {
    return LinearLayers.of(architecture, null).orElseThrow().besides(Set.of(tensors));
  }

  @Test
  void layersWithoutWeightsOfTheirOwn() {
    assertEquals(List.of("lm_head"), besides("LlamaForCausalLM"));
    assertEquals(List.of(), besides("LlamaModel"));
    assertEquals(List.of(), besides("LlamaForSequenceClassification"));
    assertTrue(besides("Gemma3ForConditionalGeneration").contains("re:.*vision_tower\\..*"));
    assertEquals(List.of("cls.predictions.decoder"), besides("BertForMaskedLM"));
    assertEquals(List.of("pooler.dense"), besides("BertModel"));
    assertEquals(List.of(), besides("BertForSequenceClassification"));
    assertEquals(List.of("lm_head.decoder"), besides("RobertaForMaskedLM"));
    assertEquals(List.of("vocab_projector"), besides("DistilBertForMaskedLM"));
    assertEquals(
        List.of("electra.embeddings_project"),
        besides("ElectraForPreTraining", "electra.embeddings_project.weight"));
    assertEquals(List.of(), LinearLayers.stated().besides(Set.of()));
  }

  private static Optional<String> reason(Targets targets, String name, long... shape) {
    return targets.reasonToSkip(TensorInfo.of(name, DType.F32, shape));
  }

  @Test
  void targetsAddMatricesOnly() {
    Targets known =
        new Targets(List.of("*extra*", "lm_head.weight", "*embed*"), List.of("*.1.*"))
            .of(LinearLayers.of("LlamaForCausalLM", null).orElseThrow());
    assertEquals(Optional.empty(), reason(known, "model.layers.0.mlp.up_proj.weight", 2, 2));
    assertEquals(
        Optional.of("matches --skip *.1.*"),
        reason(known, "model.layers.1.mlp.up_proj.weight", 2, 2));
    assertEquals(Optional.empty(), reason(known, "extra.weight", 2, 2));
    assertEquals(
        Optional.of("more than two dimensions, so not a Linear layer"),
        reason(known, "extra.weight", 2, 2, 3, 3));
    assertEquals(Optional.of("fewer than two dimensions"), reason(known, "extra.weight", 2));
    assertEquals(Optional.of("not a weight by its name"), reason(known, "extra.kernel", 2, 2));
    assertEquals(Optional.of("lm_head"), reason(known, "lm_head.weight", 2, 2));
    assertEquals(Optional.of("embedding"), reason(known, "model.embed_tokens.weight", 2, 2));
    assertEquals(
        Optional.of("not a Linear layer inside of Llama's blocks"),
        reason(known, "score.weight", 2, 2));
    Targets stated = new Targets(List.of("h.*"), List.of()).of(LinearLayers.stated());
    assertEquals(Optional.empty(), reason(stated, "h.0.fc.weight", 2, 2));
    assertEquals(
        Optional.of("not named by --targets"),
        reason(stated, "model.layers.0.mlp.up_proj.weight", 2, 2));
  }

  @Test
  void whatVllmComputesTogether() {
    assertEquals(
        Set.of("a.qkv_proj", "b.gate_up_proj"),
        LinearLayers.fusedNames(List.of("a.k_proj", "a.q_proj", "b.up_proj", "c.down_proj", "d")));
    assertEquals(
        List.of("a.q_proj"),
        LinearLayers.split(Set.of("a.k_proj", "b.up_proj"), List.of("a.q_proj", "c.gate_proj")));
  }
}
