#pragma once

#include <cstdint>
#include <filesystem>

namespace sinkrouter::testing {

struct TinyModelShape {
  int hidden_size = 64;
  int intermediate_size = 96;
  int layers = 2;
  int q_heads = 4;
  int kv_heads = 2;
  int head_dim = 64;
  int max_positions = 4096;
};

// A directory that is removed with everything in it when the object goes.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes a random Llama checkpoint (fp32, tied embeddings) with the embedded model's tokenizer.
void write_tiny_model(const std::filesystem::path& directory, const TinyModelShape& shape,
                      std::uint64_t seed);

}  // namespace sinkrouter::testing
