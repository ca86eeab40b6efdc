#include <utility>

#include "base/check.h"
#include "base/quotes.h"
#include "json/json_field.h"
#include "text/loaded_tokenizer.h"

namespace sinkrouter::text {
namespace {

using Json = nlohmann::json;

void put_token(std::vector<Token>& tokens, int id, const std::string& piece, bool special,
               const JsonField& field) {
  if (tokens.size() <= static_cast<std::size_t>(id)) tokens.resize(id + 1);
  Token& token = tokens[id];
  if (!token.piece.empty() && token.piece != piece) {
    field.fail(fmt::format("{} and {} share id {}, expected an id each", in_quotes(token.piece),
                           in_quotes(piece), id));
  }
  token = {piece, special};
}

PieceIds parse_vocabulary(const JsonField& field, std::vector<Token>& tokens) {
  PieceIds vocabulary;
  const Json& entries = field.object();
  vocabulary.reserve(entries.size());
  for (const auto& [piece, value] : entries.items()) {
    const bool is_valid = value.is_number_integer() && value >= 0 && value < kMaxVocabulary;
    if (!is_valid) {
      field.fail(fmt::format("the id of {} is {}, expected an integer from 0 to {}",
                             in_quotes(piece), in_quotes(value.dump()), kMaxVocabulary - 1));
    }
    const int id = value.get<int>();
    put_token(tokens, id, piece, false, field);
    vocabulary.emplace(piece, id);
  }
  return vocabulary;
}

// One entry of "merges": "a b", or ["a", "b"].
std::pair<std::string, std::string> parse_pair(const JsonField& field, std::size_t index) {
  const Json& entry = field.array()[index];
  if (entry.is_string()) {
    const auto& text = entry.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
             entry[1].is_string()) {
    return {entry[0].get<std::string>(), entry[1].get<std::string>()};
  }
  field.fail(fmt::format("entry {} is {}, expected two pieces", index, in_quotes(entry.dump())));
}

std::vector<Merge> parse_merges(const JsonField& field, const PieceIds& vocabulary) {
  std::vector<Merge> merges;
  const std::size_t count = field.array().size();
  merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto [left, right] = parse_pair(field, i);
    const auto id_of = [&, index = i](const std::string& piece) {
      const auto it = vocabulary.find(piece);
      if (it == vocabulary.end()) {
        field.fail(fmt::format("entry {} needs the piece {}, which model.vocab does not have",
                               index, in_quotes(piece)));
      }
      return it->second;
    };
    if (left.empty() || right.empty()) {
      field.fail(fmt::format("entry {} has an empty piece, expected two pieces", i));
    }
    merges.push_back({id_of(left), id_of(right), id_of(left + right), static_cast<int>(i)});
  }
  return merges;
}

void require_plain_model(const JsonField& model) {
  const std::string type = model.string_or("type", "BPE");
  if (type != "BPE") {
    model.at("type").fail(fmt::format("model {} is not supported, expected BPE", in_quotes(type)));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto affix = model.find(key);
    if (affix && !affix->string().empty()) affix->fail("affixes are not supported, expected null");
  }
  const auto dropout = model.find("dropout");
  if (dropout && !dropout->is_zero()) dropout->fail("dropout is not supported, expected null");
}

BpeOptions parse_options(const JsonField& model, const PieceIds& vocabulary) {
  BpeOptions options;
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  if (const auto unk = model.find("unk_token")) {
    const std::string piece = unk->string();
    const auto it = vocabulary.find(piece);
    if (it == vocabulary.end()) {
      unk->fail(fmt::format("{} is not in model.vocab, expected a piece", in_quotes(piece)));
    }
    options.unk_id = it->second;
  }
  return options;
}

std::vector<AddedToken> parse_added_tokens(const JsonField& root, const PieceIds& vocabulary,
                                           std::vector<Token>& tokens) {
  std::vector<AddedToken> added;
  const auto list = root.find("added_tokens");
  if (!list) return added;
  std::unordered_map<std::string, int> seen;
  for (const JsonField& field : list->items()) {
    AddedToken token;
    token.content = field.at("content").string();
    token.id = static_cast<int>(field.at("id").integer(0, kMaxVocabulary - 1));
    token.special = field.boolean_or("special", false);
    token.lstrip = field.boolean_or("lstrip", false);
    token.rstrip = field.boolean_or("rstrip", false);
    token.single_word = field.boolean_or("single_word", false);
    token.normalized = field.boolean_or("normalized", !token.special);
    if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
      field.fail(fmt::format("the content has {} bytes, expected 1 to {}", token.content.size(),
                             kMaxAddedTokenBytes));
    }
    const auto in_vocabulary = vocabulary.find(token.content);
    const int known = in_vocabulary != vocabulary.end()
                          ? in_vocabulary->second
                          : seen.try_emplace(token.content, token.id).first->second;
    if (known != token.id) {
      field.fail(fmt::format("{} has the ids {} and {}, expected one", in_quotes(token.content),
                             known, token.id));
    }
    put_token(tokens, token.id, token.content, token.special, field);
    added.push_back(std::move(token));
  }
  return added;
}

// "post_processor": fills what goes around a text.
class TemplateParser {
 public:
  explicit TemplateParser(LoadedTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void parse(const JsonField& field) {
    const JsonField type_field = field.at("type");
    const std::string type = type_field.string();
    if (type == "Sequence") {
      for (const JsonField& item : field.at("processors").items()) parse(item);
    } else if (type == "TemplateProcessing") {
      parse_template(field);
    } else if (type != "ByteLevel") {  // which moves offsets only
      type_field.fail(
          fmt::format("post-processor {} is not supported, expected "
                      "TemplateProcessing, ByteLevel or Sequence",
                      in_quotes(type)));
    }
  }

 private:
  void parse_template(const JsonField& field) {
    if (tokenizer_.has_template) field.fail("a second template, expected one");
    tokenizer_.has_template = true;
    const JsonField single = field.at("single");
    bool seen_text = false;
    for (const JsonField& item : single.items()) {
      if (const auto special = item.find("SpecialToken")) {
        append_ids(field, special->at("id").string(),
                   seen_text ? tokenizer_.suffix : tokenizer_.prefix);
      } else if (item.find("Sequence") && !seen_text) {
        seen_text = true;
      } else {
        item.fail("expected a SpecialToken, or the only Sequence");
      }
    }
    if (!seen_text) single.fail("expected a Sequence among its items");
  }

  void append_ids(const JsonField& field, const std::string& name, std::vector<int>& out) const {
    const int last = static_cast<int>(tokenizer_.tokens.size()) - 1;
    for (const JsonField& id : field.at("special_tokens").at(name).at("ids").items()) {
      out.push_back(static_cast<int>(id.integer(0, last)));
    }
  }

  LoadedTokenizer& tokenizer_;
};

}  // namespace

LoadedTokenizer parse_tokenizer_json(std::string_view content, const std::string& file) {
  const JsonField root = JsonField::parse(content, file);
  const JsonField model = root.at("model");
  require_plain_model(model);

  LoadedTokenizer result;
  PieceIds vocabulary = parse_vocabulary(model.at("vocab"), result.tokens);
  const std::vector<Merge> merges = parse_merges(model.at("merges"), vocabulary);
  const BpeOptions options = parse_options(model, vocabulary);
  const auto added = parse_added_tokens(root, vocabulary, result.tokens);
  if (result.tokens.empty()) model.at("vocab").fail("no pieces, expected one or more");

  const auto normalizer = root.find("normalizer");
  const auto pre_tokenizer = root.find("pre_tokenizer");
  result.encoder =
      std::make_unique<BpeEncoder>(normalizer ? Normalizer(*normalizer) : Normalizer(),
                                   pre_tokenizer ? PreTokenizer(*pre_tokenizer) : PreTokenizer(),
                                   BpeModel(std::move(vocabulary), merges, options), added);
  if (const auto decoder = root.find("decoder")) result.decoder = Decoder(*decoder);
  if (const auto field = root.find("post_processor")) TemplateParser(result).parse(*field);
  return result;
}

}  // namespace sinkrouter::text
