#include <limits>

#include "base/check.h"
#include "base/quotes.h"
#include "eval/json_fields.h"
#include "eval/suite/plan.h"
#include "eval/suite/store.h"
#include "json/json_field.h"

namespace sinkrouter {
namespace {

constexpr const char* kFormat = "sinkrouter-suite";
constexpr int kFormatVersion = 1;
constexpr int kLargestInt = std::numeric_limits<int>::max();
constexpr std::int64_t kLargestCount = std::numeric_limits<std::int64_t>::max();
constexpr double kLargestSurprise = 1e6;  // nats a token

Json settings_json(const SuiteSettings& settings) {
  return {{"model", settings.model},
          {"model_fingerprint", settings.model_fingerprint},
          {"kv_dtype", settings.kv_dtype},
          {"page_size", settings.page_size},
          {"sketch_bits", settings.sketch_bits},
          {"samples", settings.samples},
          {"documents", settings.documents},
          {"tokens", settings.tokens},
          {"seed", settings.seed},
          {"prose_fingerprint", settings.prose_fingerprint},
          {"code_fingerprint", settings.code_fingerprint}};
}

Json cell_json(const SuiteResult& result, const SuiteCell& cell) {
  Json json;
  json["task"] = std::string(name(cell.task));
  json["context"] = cell.context;
  json["mode"] = std::string(name(cell.mode));
  json["policy"] = cell.policy;
  json["complete"] = result.is_complete(cell);
  json["documents"] = cell.documents;
  json["samples"] = cell.samples();
  json["measure"] = is_perplexity(cell.task) ? "perplexity" : "accuracy";
  json["score"] = cell.score();
  json["dense_score"] = result.dense_score(cell);
  add_reads(json, cell.reads);
  json["tokens"] = cell.reads.tokens;
  json["router_bytes"] = cell.reads.router_bytes;
  json["attention_bytes"] = cell.reads.attention_bytes;
  json["audit_bytes"] = cell.reads.audit_bytes;
  json["dense_bytes"] = cell.reads.dense_bytes;
  json["decisions"] = cell.reads.decisions;
  json["routed_decisions"] = cell.reads.routed_decisions;
  json["seconds"] = cell.seconds;
  json["model"] = cell.model;
  json["seed"] = cell.seed;
  json["device"] = cell.device;
  json["version"] = cell.version;
  json["scores"] = cell.scores;
  return json;
}

int count_of(const JsonField& parent, std::string_view key, int least) {
  return static_cast<int>(parent.at(key).integer(least, kLargestInt));
}

std::int64_t total_of(const JsonField& parent, std::string_view key) {
  return parent.at(key).integer(0, kLargestCount);
}

SuiteSettings settings_of(const JsonField& json) {
  return {.model = json.at("model").string(),
          .model_fingerprint = json.at("model_fingerprint").string(),
          .kv_dtype = json.at("kv_dtype").string(),
          .page_size = count_of(json, "page_size", 1),
          .sketch_bits = count_of(json, "sketch_bits", 0),
          .samples = count_of(json, "samples", 1),
          .documents = count_of(json, "documents", 1),
          .tokens = count_of(json, "tokens", 1),
          .seed = static_cast<std::uint64_t>(total_of(json, "seed")),
          .prose_fingerprint = json.at("prose_fingerprint").string(),
          .code_fingerprint = json.at("code_fingerprint").string()};
}

// Of one of the names that `parse` knows.
template <typename Parse>
auto named(const JsonField& field, const Parse& parse) {
  const std::string text = field.string();
  try {
    return parse(text);
  } catch (const Error& error) {
    field.fail(error.what());
  }
}

SuiteCell read_cell(const JsonField& json, const SuiteSettings& settings) {
  SuiteCell cell{.task = named(json.at("task"), parse_suite_task),
                 .context = count_of(json, "context", 1),
                 .mode = named(json.at("mode"), parse_suite_mode),
                 .policy = json.at("policy").string(),
                 .documents = static_cast<int>(json.at("documents").integer(1, settings.documents)),
                 .reads = {.tokens = total_of(json, "tokens"),
                           .router_bytes = total_of(json, "router_bytes"),
                           .attention_bytes = total_of(json, "attention_bytes"),
                           .audit_bytes = total_of(json, "audit_bytes"),
                           .dense_bytes = total_of(json, "dense_bytes"),
                           .decisions = total_of(json, "decisions"),
                           .routed_decisions = total_of(json, "routed_decisions")},
                 .seconds = json.at("seconds").number(0, 1e12),
                 .model = json.at("model").string(),
                 .seed = static_cast<std::uint64_t>(total_of(json, "seed")),
                 .device = json.at("device").string(),
                 .version = json.at("version").string()};
  const double highest = is_perplexity(cell.task) ? kLargestSurprise : 1.0;
  for (const JsonField& score : json.at("scores").items()) {
    cell.scores.push_back(score.number(0, highest));
  }
  const int expected = scores_after(settings, cell.task, cell.documents);
  if (cell.samples() != expected) {
    json.at("scores").fail(fmt::format("found {} scores, expected the {} of {} documents",
                                       cell.samples(), expected, cell.documents));
  }
  return cell;
}

// Every cell is compared with dense attention on the same documents.
void check_dense(const JsonField& item, const SuiteResult& result, const SuiteCell& cell) {
  const SuiteCell* dense = find_cell(result, cell.task, cell.context, cell.mode, kSuiteDense);
  if (dense != nullptr && dense->documents >= cell.documents) return;
  item.fail(fmt::format("expected a cell of policy '{}' with at least its {} documents",
                        kSuiteDense, cell.documents));
}

}  // namespace

std::string to_json(const SuiteResult& result) {
  Json json;
  json["format"] = kFormat;
  json["format_version"] = kFormatVersion;
  json["settings"] = settings_json(result.settings);
  json["cells"] = Json::array();
  for (const SuiteCell& cell : result.cells) json["cells"].push_back(cell_json(result, cell));
  return dumped(json);
}

SuiteResult parse_suite(std::string_view json, const std::filesystem::path& file) {
  const JsonField root = JsonField::parse(json, file.string());
  if (root.at("format").string() != kFormat) {
    root.at("format").fail(
        fmt::format("found {}, expected '{}'", in_quotes(root.at("format").string()), kFormat));
  }
  root.at("format_version").integer(kFormatVersion, kFormatVersion);
  SuiteResult result{.settings = settings_of(root.at("settings")), .cells = {}};
  const std::vector<JsonField> items = root.at("cells").items();
  std::vector<SuiteCell> cells;
  for (const JsonField& item : items) {
    cells.push_back(read_cell(item, result.settings));
    const SuiteCell& cell = cells.back();
    if (find_cell(result, cell.task, cell.context, cell.mode, cell.policy) != nullptr) {
      item.fail("found a second cell of the same task, context, mode and policy");
    }
    cell_of(result, cell.task, cell.context, cell.mode, cell.policy) = cell;
  }
  for (std::size_t i = 0; i < items.size(); ++i) check_dense(items[i], result, cells[i]);
  return result;
}

}  // namespace sinkrouter
