#include <algorithm>

#include "eval/json_fields.h"
#include "sinkrouter/eval.h"

namespace sinkrouter {
namespace {

Json answer_json(const Answer& answer) {
  Json json;
  add_policy(json, answer.policy);
  json["text"] = answer.result.text;
  json["prompt_tokens"] = answer.prompt_tokens;
  json["question_tokens"] = answer.question_tokens;
  json["generated_tokens"] = answer.result.tokens.size();
  json["finish"] = std::string(name(answer.result.finish));
  json["prefill_seconds"] = answer.prefill_seconds;
  json["decode_tokens_per_second"] = answer.tokens_per_second;
  add_reads(json, answer.result.reads);
  return json;
}

double share(int part, int whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

Json tallies_json(const std::vector<Tally>& tallies, const char* label) {
  Json list = Json::array();
  for (const Tally& tally : tallies) {
    if (tally.asked == 0) continue;
    list.push_back({{label, tally.label},
                    {"asked", tally.asked},
                    {"right", tally.right},
                    {"accuracy", share(tally.right, tally.asked)}});
  }
  return list;
}

Json score_json(const NeedleResult& result, const NeedleScore& score) {
  Json json;
  add_policy(json, score.policy);
  json["accuracy"] = share(score.right, result.samples);
  json["same_as_dense"] = share(score.same_as_dense, result.samples);
  add_reads(json, score.reads);
  json["seconds"] = score.seconds;
  json["by_depth"] = tallies_json(score.by_depth, "depth");
  json["by_wording"] = tallies_json(score.by_wording, "wording");
  return json;
}

Json score_json(const PerplexityResult& result, const PerplexityScore& score) {
  Json json;
  add_policy(json, score.policy);
  json["perplexity"] = score.perplexity;
  json["delta_percent"] = result.delta_percent(score);
  add_reads(json, score.reads);
  json["seconds"] = score.seconds;
  return json;
}

}  // namespace

std::string to_json(const Answer& answer) { return dumped(answer_json(answer)); }

std::string to_json(const CompareResult& result) {
  Json json;
  json["prompt_tokens"] = result.dense.prompt_tokens;
  json["prefill_seconds"] = result.dense.prefill_seconds;
  json["tokens_equal"] = result.tokens_equal;
  json["speedup"] = result.speedup();
  json["dense"] = answer_json(result.dense);
  json["routed"] = answer_json(result.routed);
  return dumped(json);
}

// The first policy's figures stand at the top as well, for the common case of one.
std::string to_json(const NeedleResult& result) {
  const NeedleScore& first = result.policies.empty() ? result.dense : result.policies.front();
  Json json = score_json(result, first);
  json["model"] = result.model;
  json["device"] = result.device;
  json["context"] = result.context;
  json["samples"] = result.samples;
  json["documents"] = result.documents;
  json["decoded"] = result.decoded;
  json["set"] = result.set;
  json["question"] = result.prefill_question ? "prefill" : "decode";
  json["prefill_seconds"] = result.prefill_seconds;
  json["dense_accuracy"] = share(result.dense.right, result.samples);
  json["dense"] = score_json(result, result.dense);
  json["results"] = Json::array();
  for (const NeedleScore& score : result.policies) {
    json["results"].push_back(score_json(result, score));
  }
  return dumped(json);
}

std::string to_json(const PerplexityResult& result) {
  const PerplexityScore& first = result.policies.empty() ? result.dense : result.policies.front();
  Json json = score_json(result, first);
  json["model"] = result.model;
  json["device"] = result.device;
  json["context"] = result.context;
  json["samples"] = result.samples;
  json["tokens"] = result.tokens;
  json["prefill_seconds"] = result.prefill_seconds;
  json["dense_perplexity"] = result.dense.perplexity;
  json["dense"] = score_json(result, result.dense);
  json["results"] = Json::array();
  for (const PerplexityScore& score : result.policies) {
    json["results"].push_back(score_json(result, score));
  }
  return dumped(json);
}

}  // namespace sinkrouter
