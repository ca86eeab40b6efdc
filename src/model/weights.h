#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor_view.h"
#include "model/checkpoint.h"
#include "model/config.h"

namespace sinkrouter {

// Matrices are [outputs, inputs], as in the checkpoint; each tensor is f32, f16 or bf16.
struct LlamaLayerWeights {
  TensorView q;           // [q_heads * head_dim, hidden_size]
  TensorView k;           // [kv_heads * head_dim, hidden_size]
  TensorView v;           // [kv_heads * head_dim, hidden_size]
  TensorView o;           // [hidden_size, q_heads * head_dim]
  TensorView gate;        // [intermediate_size, hidden_size]
  TensorView up;          // [intermediate_size, hidden_size]
  TensorView down;        // [hidden_size, intermediate_size]
  TensorView input_norm;  // [hidden_size]
  TensorView post_norm;   // [hidden_size]
};

// Read-only views into the mapped checkpoint, which lives as long as any copy of this does.
struct LlamaWeights {
  TensorView embedding;   // [vocab_size, hidden_size]
  TensorView final_norm;  // [hidden_size]
  TensorView lm_head;     // [vocab_size, hidden_size]; the embedding when tied
  std::vector<LlamaLayerWeights> layers;
  std::vector<std::string> unused;  // names in the checkpoint that the model has no place for
  std::shared_ptr<const Checkpoint> checkpoint;
};

// Throws Error when a tensor is missing, has another shape than `config` asks for, or a dtype
// that weights cannot have.
LlamaWeights load_llama_weights(const std::filesystem::path& directory, const LlamaConfig& config);

}  // namespace sinkrouter
