#include <algorithm>

#include "base/file.h"
#include "base/quotes.h"
#include "json/json_field.h"
#include "text/loaded_tokenizer.h"

namespace sinkrouter::text {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;

std::optional<JsonField> read_if_present(const std::filesystem::path& file) {
  if (!file_exists(file)) return std::nullopt;
  return JsonField::read(file, kMaxFileBytes);
}

// "bos_token" and the like: "<s>", or {"content": "<s>", ...}.
std::optional<int> id_of_token(const JsonField& config, std::string_view key,
                               const std::vector<Token>& tokens) {
  const auto field = config.find(key);
  if (!field) return std::nullopt;
  const std::string piece = (field->is_object() ? field->at("content") : *field).string();
  const auto it = std::find_if(tokens.begin(), tokens.end(),
                               [&](const Token& token) { return token.piece == piece; });
  if (it == tokens.end() || piece.empty()) {
    field->fail(in_quotes(piece) + " is not in the vocabulary, expected a token");
  }
  return static_cast<int>(it - tokens.begin());
}

// "eos_token_id" and the like: an id, or a list of ids.
std::vector<int> ids_of(const JsonField& config, std::string_view key) {
  std::vector<int> ids;
  const auto field = config.find(key);
  if (!field) return ids;
  const auto append = [&](const JsonField& id) {
    ids.push_back(static_cast<int>(id.integer(0, kMaxVocabulary - 1)));
  };
  if (field->is_array()) {
    for (const JsonField& id : field->items()) append(id);
  } else {
    append(*field);
  }
  return ids;
}

void set_if_unset(std::optional<int>& target, const std::vector<int>& ids) {
  if (!target && !ids.empty()) target = ids.front();
}

}  // namespace

void read_special_ids(const std::filesystem::path& directory, LoadedTokenizer& tokenizer) {
  bool adds_bos = tokenizer.adds_bos;
  bool adds_eos = false;
  if (const auto config = read_if_present(directory / "tokenizer_config.json")) {
    if (const auto id = id_of_token(*config, "bos_token", tokenizer.tokens)) tokenizer.bos_id = id;
    if (const auto id = id_of_token(*config, "eos_token", tokenizer.tokens)) tokenizer.eos_id = id;
    const bool is_llama = config->string_or("tokenizer_class", "").starts_with("LlamaTokenizer");
    adds_bos = config->boolean_or("add_bos_token", adds_bos || is_llama);
    adds_eos = config->boolean_or("add_eos_token", false);
  }
  for (const char* name : {"generation_config.json", "config.json"}) {
    const auto config = read_if_present(directory / name);
    if (!config) continue;
    set_if_unset(tokenizer.bos_id, ids_of(*config, "bos_token_id"));
    const std::vector<int> eos_ids = ids_of(*config, "eos_token_id");
    set_if_unset(tokenizer.eos_id, eos_ids);
    tokenizer.stop_ids.insert(tokenizer.stop_ids.end(), eos_ids.begin(), eos_ids.end());
  }
  if (tokenizer.eos_id) tokenizer.stop_ids.push_back(*tokenizer.eos_id);
  std::sort(tokenizer.stop_ids.begin(), tokenizer.stop_ids.end());
  tokenizer.stop_ids.erase(std::unique(tokenizer.stop_ids.begin(), tokenizer.stop_ids.end()),
                           tokenizer.stop_ids.end());
  if (tokenizer.has_template) return;
  if (adds_bos && tokenizer.bos_id) tokenizer.prefix.push_back(*tokenizer.bos_id);
  if (adds_eos && tokenizer.eos_id) tokenizer.suffix.push_back(*tokenizer.eos_id);
}

}  // namespace sinkrouter::text
