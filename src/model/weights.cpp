#include "model/weights.h"

#include <cstring>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace sinkrouter {
namespace {

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kFinalNorm = "model.norm.weight";
constexpr std::string_view kLmHead = "lm_head.weight";

// Computed by old versions of transformers and saved with the weights; we compute our own.
constexpr std::string_view kSavedFrequencies = ".rotary_emb.inv_freq";

// Takes tensors from a checkpoint and remembers which.
class Loader {
 public:
  explicit Loader(Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  TensorView take(std::string_view name, std::initializer_list<std::int64_t> shape) {
    taken_.emplace(name);
    return checkpoint_.tensor(name, shape);
  }

  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (std::string& name : checkpoint_.names()) {
      if (!taken_.contains(name) && !name.ends_with(kSavedFrequencies)) {
        names.push_back(std::move(name));
      }
    }
    return names;
  }

 private:
  Checkpoint& checkpoint_;
  std::set<std::string, std::less<>> taken_;
};

LlamaLayerWeights load_layer(Loader& loader, const LlamaConfig& config, int layer) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_width = std::int64_t{config.q_heads} * config.head_dim;
  const std::int64_t kv_width = std::int64_t{config.kv_heads} * config.head_dim;
  const auto take = [&](std::string_view name, std::initializer_list<std::int64_t> shape) {
    return loader.take(fmt::format("model.layers.{}.{}.weight", layer, name), shape);
  };
  LlamaLayerWeights weights;
  weights.q = take("self_attn.q_proj", {q_width, hidden});
  weights.k = take("self_attn.k_proj", {kv_width, hidden});
  weights.v = take("self_attn.v_proj", {kv_width, hidden});
  weights.o = take("self_attn.o_proj", {hidden, q_width});
  weights.gate = take("mlp.gate_proj", {intermediate, hidden});
  weights.up = take("mlp.up_proj", {intermediate, hidden});
  weights.down = take("mlp.down_proj", {hidden, intermediate});
  weights.input_norm = take("input_layernorm", {hidden});
  weights.post_norm = take("post_attention_layernorm", {hidden});
  return weights;
}

bool same_contents(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.bytes() == b.bytes() &&
         std::memcmp(a.data, b.data, static_cast<std::size_t>(a.bytes())) == 0;
}

// A tied pair is usually saved once, under either name. When both are there and differ, versions
// of transformers disagree on which one counts, so we don't guess.
void load_embeddings(Loader& loader, const Checkpoint& checkpoint, const LlamaConfig& config,
                     LlamaWeights& weights) {
  const std::int64_t vocab = config.vocab_size;
  const std::int64_t hidden = config.hidden_size;
  const bool has_lm_head = checkpoint.contains(kLmHead);
  if (config.tied_embeddings && has_lm_head && !checkpoint.contains(kEmbedding)) {
    weights.embedding = weights.lm_head = loader.take(kLmHead, {vocab, hidden});
    return;
  }
  weights.embedding = loader.take(kEmbedding, {vocab, hidden});
  if (!config.tied_embeddings) {
    weights.lm_head = loader.take(kLmHead, {vocab, hidden});
    return;
  }
  weights.lm_head = weights.embedding;
  SR_CHECK(!has_lm_head || same_contents(weights.embedding, loader.take(kLmHead, {vocab, hidden})),
           kInvalidFile,
           "{}: tie_word_embeddings is true but lm_head.weight differs from {}, expected equal "
           "tensors or only one of them",
           (checkpoint.directory() / "config.json").string(), kEmbedding);
}

}  // namespace

LlamaWeights load_llama_weights(const std::filesystem::path& directory, const LlamaConfig& config) {
  const auto checkpoint = std::make_shared<Checkpoint>(directory);
  Loader loader(*checkpoint);
  LlamaWeights weights;
  load_embeddings(loader, *checkpoint, config, weights);
  weights.final_norm = loader.take(kFinalNorm, {config.hidden_size});
  for (int layer = 0; layer < config.layers; ++layer) {
    weights.layers.push_back(load_layer(loader, config, layer));
  }
  weights.unused = loader.unused();
  weights.checkpoint = checkpoint;
  return weights;
}

}  // namespace sinkrouter
