package dev.sinew.pass;

import dev.sinew.model.TensorInfo;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which modules of a model are Linear layers, the only ones whose weights the format
 * compressed-tensors quantizes. A checkpoint does not say: embeddings, convolutions and the
 * transposed weights of GPT-2 are matrices too. So the names are those that transformers give the
 * layers of an architecture.
 */
public final class LinearLayers {
  private static final String WEIGHT = ".weight";

  /** Architectures whose classes name their layers alike. */
  private enum Family {
    DECODER(
        List.of(
            "Llama",
            "Mistral",
            "Qwen2",
            "Qwen3",
            "Gemma",
            "Gemma2",
            "Gemma3",
            "Gemma3Text",
            "Phi3"),
        // Models of text, or the part of one for text and images that reads text.
        "(model\\.|language_model\\.|model\\.language_model\\.|language_model\\.model\\.)?"
            + "layers\\.\\d+\\.(self_attn\\.(q|k|v|o|qkv)_proj|mlp\\.(gate|up|down|gate_up)_proj)"),
    BERT(
        List.of("Bert", "Roberta", "XLMRoberta", "Camembert", "Electra"),
        "(\\w+\\.)?encoder\\.layer\\.\\d+\\."
            + "((cross)?attention\\.(self\\.(query|key|value)|output\\.dense)"
            + "|(intermediate|output)\\.dense)"),
    DISTILBERT(
        List.of("DistilBert"),
        "(\\w+\\.)?transformer\\.layer\\.\\d+\\." + "(attention\\.(q|k|v|out)_lin|ffn\\.lin[12])");

    private final List<String> bases;
    private final Pattern layer;

    Family(List<String> bases, String layer) {
      this.bases = bases;
      this.layer = Pattern.compile(layer);
    }
  }

  /** What a class is called besides the family: {@code LlamaForCausalLM}, {@code BertModel}. */
  private static final Pattern CLASS =
      Pattern.compile(
          "(?<base>[A-Za-z0-9]+?)(?<task>(LMHead|Text)?Model|For(CausalLM|ConditionalGeneration"
              + "|MaskedLM|PreTraining|NextSentencePrediction|SequenceClassification"
              + "|TokenClassification|QuestionAnswering|MultipleChoice))");

  /** Classes that multiply by [in, out] (Conv1D of transformers) where Linear has [out, in]. */
  private static final List<String> TRANSPOSED =
      List.of("gpt2", "openaigpt", "imagegpt", "decisiontransformer");

  /** Modules that vLLM computes as one, so that all of them are quantized or none. */
  private static final List<Set<String>> FUSED =
      List.of(
          Set.of("q_proj", "k_proj", "v_proj"),
          Set.of("gate_proj", "up_proj"),
          Set.of("query", "key", "value"));

  private final Family family;
  private final String base;
  private final String task;

  private LinearLayers(Family family, String base, String task) {
    this.family = family;
    this.base = base;
    this.task = task;
  }

  /**
   * The layers of a known architecture: Llama, Mistral, Qwen2, Qwen3, Gemma (1 to 3), Phi-3, BERT,
   * RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA and DistilBERT, whatever their task.
   *
   * @param architecture the first of the configuration's {@code architectures}, for example {@code
   *     LlamaForCausalLM}; may be null
   * @param modelType the configuration's {@code model_type}, for example {@code llama}, which
   *     counts where there is no architecture; may be null
   * @return empty if the architecture is not known
   */
  public static Optional<LinearLayers> of(String architecture, String modelType) {
    if (architecture == null) {
      return ofBase(modelType == null ? "" : modelType, "");
    }
    Matcher name = CLASS.matcher(architecture);
    return name.matches() ? ofBase(name.group("base"), name.group("task")) : Optional.empty();
  }

  /** None but those that targets name. */
  public static LinearLayers stated() {
    return new LinearLayers(null, "", "");
  }

  private static Optional<LinearLayers> ofBase(String name, String task) {
    for (Family family : Family.values()) {
      for (String base : family.bases) {
        if (plain(base).equals(plain(name))) {
          return Optional.of(new LinearLayers(family, base, task));
        }
      }
    }
    return Optional.empty();
  }

  /** Whether the architecture is known to store its weights as [in, out], so none is Linear. */
  public static boolean isTransposed(String architecture, String modelType) {
    String name = plain(architecture != null ? architecture : modelType == null ? "" : modelType);
    return TRANSPOSED.stream().anyMatch(name::startsWith);
  }

  // "XLMRoberta" and "xlm-roberta" are the same.
  private static String plain(String name) {
    return name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]", "");
  }

  /** Whether this is the weight of a Linear layer of the architecture. */
  boolean contains(String tensor) {
    return family != null
        && tensor.endsWith(WEIGHT)
        && family.layer.matcher(module(tensor)).matches();
  }

  /** Why a weight is left as it is that is not one of them. */
  String reason() {
    return family == null
        ? "not named by --targets"
        : "not a Linear layer inside of " + base + "'s blocks";
  }

  /** The module that has this weight. */
  static String module(String tensor) {
    return tensor.substring(0, tensor.length() - WEIGHT.length());
  }

  /** Whether a tensor may be the weight of a Linear layer: a matrix, by its name no embedding. */
  static boolean mayBeLinear(TensorInfo tensor) {
    Optional<String> kind = Targets.kind(tensor.name());
    return tensor.name().endsWith(WEIGHT)
        && tensor.shape().size() == 2
        && (kind.isEmpty() || kind.get().equals(Targets.LM_HEAD));
  }

  /**
   * Linear layers that the model has though the checkpoint may not have their weights, because they
   * are tied to an embedding or are made anew: loaders have to be told that they are not quantized.
   */
  List<String> besides(Collection<String> tensors) {
    List<String> modules = new ArrayList<>();
    if (family == Family.DECODER
        && (task.isEmpty()
            || task.equals("ForCausalLM")
            || task.equals("ForConditionalGeneration"))) {
      modules.add("lm_head");
      if (task.equals("ForConditionalGeneration")) {
        // Loaders have named these parts differently over time, so patterns say which they are.
        modules.add("language_model.lm_head");
        modules.add("re:.*vision_tower\\..*");
        modules.add("re:.*multi_modal_projector\\..*");
      }
    }
    boolean predicts =
        Set.of("ForMaskedLM", "ForPreTraining", "LMHeadModel", "ForCausalLM").contains(task);
    switch (base) {
      case "Bert" -> add(modules, predicts, "cls.predictions.decoder");
      case "Roberta", "XLMRoberta", "Camembert" -> add(modules, predicts, "lm_head.decoder");
      case "DistilBert" -> add(modules, predicts, "vocab_projector");
      case "Electra" -> {
        add(modules, task.equals("ForMaskedLM"), "generator_lm_head");
        // An embedding by its name only.
        for (String name : List.of("embeddings_project", "electra.embeddings_project")) {
          add(modules, tensors.contains(name + WEIGHT), name);
        }
      }
      default -> {}
    }
    add(
        modules,
        family == Family.BERT && !base.equals("Electra") && task.equals("Model"),
        "pooler.dense");
    return modules;
  }

  private static void add(List<String> modules, boolean wanted, String module) {
    if (wanted) {
      modules.add(module);
    }
  }

  /**
   * The names under which vLLM knows these modules: {@code a.qkv_proj} for {@code a.q_proj} and its
   * neighbours.
   */
  static Set<String> fusedNames(Collection<String> modules) {
    Set<String> names = new LinkedHashSet<>();
    for (String module : modules) {
      int dot = module.lastIndexOf('.') + 1;
      String parent = module.substring(0, dot);
      switch (module.substring(dot)) {
        case "q_proj", "k_proj", "v_proj", "query", "key", "value" ->
            names.add(parent + "qkv_proj");
        case "gate_proj", "up_proj" -> names.add(parent + "gate_up_proj");
        default -> {}
      }
    }
    return names;
  }

  /**
   * The modules of which vLLM wants all or none, where the choice has split them.
   *
   * @return of each such place one that is left alone beside others that are not
   */
  static List<String> split(Set<String> quantized, Collection<String> left) {
    List<String> found = new ArrayList<>();
    for (String module : left) {
      int dot = module.lastIndexOf('.') + 1;
      String parent = module.substring(0, dot);
      String name = module.substring(dot);
      for (Set<String> together : FUSED) {
        if (together.contains(name)
            && together.stream().anyMatch(other -> quantized.contains(parent + other))) {
          found.add(module);
        }
      }
    }
    return found;
  }
}
