#include "flags.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "policy_spec.h"
#include "sinkrouter/error.h"
#include "sinkrouter/eval.h"

namespace sinkrouter::cli {

void EngineFlags::add_to(CLI::App& command) {
  command.add_option("--model", model_, "checkpoint: a Hugging Face directory")
      ->required()
      ->type_name("DIR");
  command.add_option("--device", device_, "cpu or cuda")->capture_default_str()->type_name("NAME");
  command.add_option("--threads", threads_, "CPU threads; 0 uses every core")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--kv-dtype", kv_dtype_, "KV cache storage: f32, bf16 or f16")
      ->capture_default_str()
      ->type_name("TYPE");
  command.add_option("--page-size", page_size_, "tokens per KV page: 32, 64, 128 or 256")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--sketch-bits", sketch_bits_, "bits a channel of row sketches: 0, 2 or 4")
      ->default_str("what the policies need")
      ->type_name("N");
  command.add_option("--capacity", capacity_, "KV pool in tokens; 0 fits the command's needs")
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--verbose", verbose_, "say on stderr what is loaded and how long it takes");
}

std::unique_ptr<Engine> EngineFlags::open(std::span<const PolicyOptions> policies,
                                          std::int64_t capacity_tokens) const {
  EngineOptions options;
  options.model = model_;
  options.device = parse_device(device_);
  options.threads = threads_;
  options.kv_dtype = parse_dtype(kv_dtype_);
  options.page_size = page_size_;
  options.sketch_bits = sketch_bits_.value_or(needed_sketch_bits(policies));
  options.key_boxes = needs_key_boxes(policies);
  options.capacity_tokens = capacity_ != 0 ? capacity_ : capacity_tokens;
  const auto start = std::chrono::steady_clock::now();
  auto engine = std::make_unique<Engine>(options);
  if (verbose_) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const ModelInfo& model = engine->info();
    spdlog::stderr_logger_st("sinkrouter")
        ->info(
            "{}: {} layers, {} q / {} KV heads, head dim {}, {:.1f}M parameters, {}; opened in "
            "{:.2f} s",
            model.name, model.layers, model.q_heads, model.kv_heads, model.head_dim,
            static_cast<double>(model.parameters) * 1e-6, engine->description(), seconds.count());
  }
  return engine;
}

void PolicyFlags::add_to(CLI::App& command, Count count) {
  const bool several = count == Count::kSeveral;
  auto* option =
      command
          .add_option("--policy", specs_,
                      several
                          ? "policies beside dense: NAME[:SETTING=VALUE...], separated by commas"
                          : "margin, route, dense, cosine, streaming, certified, quest or oracle")
          ->default_str("margin")
          ->type_name("POLICY");
  if (!several) option->expected(1);
  command
      .add_option("--epsilon", settings_.epsilon,
                  "unread attention mass allowed per q head and step, 0 to below 1")
      ->capture_default_str()
      ->type_name("E");
  command.add_option("--window", settings_.window, "last tokens that are always read")
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--granule", settings_.granule,
                  "rows read together: 1, or a multiple of 32 up to the page size")
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--audit", settings_.audit_share,
                  "share of margin's decisions checked by reading everything; 0 is off")
      ->capture_default_str()
      ->type_name("F");
  command.add_option("--tau", settings_.tau, "cosine threshold of policy cosine, -1 to 1")
      ->capture_default_str()
      ->type_name("T");
  command.add_option("--budget", settings_.budget, "share of the rows that policy quest reads")
      ->capture_default_str()
      ->type_name("F");
}

std::vector<PolicyOptions> PolicyFlags::all(int page_size) const {
  std::vector<PolicyOptions> policies;
  for (const std::string& spec : specs_) {
    const std::vector<PolicyOptions> some = parse_policies(spec, settings_);
    policies.insert(policies.end(), some.begin(), some.end());
  }
  for (const PolicyOptions& policy : policies) validate(policy, page_size);
  return policies;
}

PolicyOptions PolicyFlags::one(int page_size) const {
  const std::vector<PolicyOptions> policies = all(page_size);
  if (policies.size() != 1) {
    throw Error(Error::Kind::kInvalidArgument,
                fmt::format("--policy names {} policies; this command takes one", policies.size()));
  }
  return policies.front();
}

void SamplingFlags::add_to(CLI::App& command) {
  command.add_option("--max-tokens", max_tokens_, "longest answer")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--stop", stop_texts_, "end before this text appears; may be repeated")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all();
  command.add_flag("--ignore-eos", ignore_eos_, "go on after an end-of-text token");
  command.add_option("--temperature", sampling_.temperature, "0 takes the likeliest token")
      ->capture_default_str()
      ->type_name("T");
  command.add_option("--top-k", sampling_.top_k, "draw from the K likeliest tokens; 0 is off")
      ->capture_default_str()
      ->type_name("K");
  command.add_option("--top-p", sampling_.top_p, "draw from this share of probability; 1 is off")
      ->capture_default_str()
      ->type_name("P");
  command.add_option("--seed", sampling_.seed, "of the draws")
      ->capture_default_str()
      ->type_name("N");
}

GenerateOptions SamplingFlags::options() const {
  validate(sampling_);
  if (max_tokens_ < 1) {
    throw Error(Error::Kind::kInvalidArgument,
                fmt::format("--max-tokens is {}; it must be at least 1", max_tokens_));
  }
  GenerateOptions options;
  options.sampling = sampling_;
  options.max_tokens = max_tokens_;
  options.stop_at_eos = !ignore_eos_;
  options.stop_texts = stop_texts_;
  return options;
}

void TextFlags::add_to(CLI::App& command) {
  command
      .add_option("--text", files_,
                  "text files to use instead of the licence texts of the system; may be repeated")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
}

std::vector<std::string> TextFlags::load() const { return load_texts(files_); }

void add_json_flag(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "print one JSON object instead of text for people");
}

}  // namespace sinkrouter::cli
