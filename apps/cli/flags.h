#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sinkrouter/engine.h"
#include "sinkrouter/generate.h"

namespace sinkrouter::cli {

// Options that several commands share. add_to() declares them; the rest turns what was given into
// the library's options and throws Error when it is out of range.

class EngineFlags {
 public:
  void add_to(CLI::App& command);
  // With what `policies` need, where the user does not say otherwise. `capacity_tokens` is what the
  // command itself needs room for, when the user names no capacity; 0: the model's own length.
  std::unique_ptr<Engine> open(std::span<const PolicyOptions> policies,
                               std::int64_t capacity_tokens = 0) const;
  std::unique_ptr<Engine> open(const PolicyOptions& policy,
                               std::int64_t capacity_tokens = 0) const {
    return open(std::span(&policy, 1), capacity_tokens);
  }
  int page_size() const { return page_size_; }

 private:
  std::string model_;
  std::string device_ = "cpu";
  std::string kv_dtype_ = "bf16";
  int threads_ = 0;
  int page_size_ = 64;
  std::optional<int> sketch_bits_;
  std::int64_t capacity_ = 0;
  bool verbose_ = false;
};

class PolicyFlags {
 public:
  enum class Count { kOne, kSeveral };

  void add_to(CLI::App& command, Count count);
  PolicyOptions one(int page_size) const;
  std::vector<PolicyOptions> all(int page_size) const;  // in the order given

 private:
  std::vector<std::string> specs_{"margin"};
  PolicyOptions settings_;
};

class SamplingFlags {
 public:
  void add_to(CLI::App& command);
  // All but the policy.
  GenerateOptions options() const;

 private:
  SamplingOptions sampling_;
  int max_tokens_ = 128;
  bool ignore_eos_ = false;
  std::vector<std::string> stop_texts_;
};

// Text files to read instead of the licence texts.
class TextFlags {
 public:
  void add_to(CLI::App& command);
  std::vector<std::string> load() const;

 private:
  std::vector<std::filesystem::path> files_;
};

void add_json_flag(CLI::App& command, bool& json);

}  // namespace sinkrouter::cli
