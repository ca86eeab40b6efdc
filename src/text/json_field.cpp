#include "text/json_field.h"

#include <algorithm>

#include "base/check.h"
#include "base/file.h"

namespace sinkrouter::text {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxQuoted = 60;

using Json = nlohmann::json;

Json parse_json(std::string_view text, const std::string& file) {
  const auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    SR_CHECK(depth <= kMaxDepth, kInvalidFile, "{}: nested deeper than {} levels", file, kMaxDepth);
    return true;
  };
  try {
    return Json::parse(text, limit_depth);
  } catch (const Json::parse_error& error) {
    throw Error(Error::Kind::kInvalidFile, fmt::format("{}: not valid JSON at byte {}: expected a "
                                                       "JSON object",
                                                       file, error.byte));
  } catch (const Json::exception&) {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: not valid JSON: a number is out of range", file));
  }
}

}  // namespace

std::string in_quotes(std::string_view text) {
  std::size_t shown = std::min(text.size(), kMaxQuoted);
  while (shown > 0 && shown < text.size() && (text[shown] & 0xC0) == 0x80) --shown;
  std::string out = "'";
  for (const char c : text.substr(0, shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += shown < text.size() ? "...'" : "'";
  return out;
}

JsonField JsonField::parse(std::string_view text, const std::string& file) {
  auto root = std::make_shared<const Json>(parse_json(text, file));
  const Json* value = root.get();
  JsonField field(std::move(root), value, file, "");
  if (!value->is_object()) field.fail_type("an object");
  return field;
}

JsonField JsonField::read(const std::filesystem::path& file, std::size_t byte_limit) {
  return parse(read_text_file(file, byte_limit), file.string());
}

JsonField JsonField::at(std::string_view key) const {
  std::optional<JsonField> field = find(key);
  if (!field) fail(fmt::format("'{}' is missing", key));
  return *std::move(field);
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  const Json& parent = object();
  const auto it = parent.find(key);
  if (it == parent.end() || it->is_null()) return std::nullopt;
  return JsonField(root_, &*it, file_,
                   path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

std::vector<JsonField> JsonField::items() const {
  std::vector<JsonField> fields;
  const Json& parent = array();
  for (std::size_t i = 0; i < parent.size(); ++i) {
    fields.push_back(JsonField(root_, &parent[i], file_, fmt::format("{}[{}]", path_, i)));
  }
  return fields;
}

std::string JsonField::string() const {
  if (!value_->is_string()) fail_type("a string");
  return value_->get<std::string>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail_type("true or false");
  return value_->get<bool>();
}

std::int64_t JsonField::integer(std::int64_t low, std::int64_t high) const {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  if (!value_->is_number_integer()) fail_type(expected);
  const bool too_large = value_->is_number_unsigned() &&
                         value_->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (too_large) fail_type(expected);
  const auto number = value_->get<std::int64_t>();
  if (number < low || number > high) fail_type(expected);
  return number;
}

double JsonField::number(double low, double high) const {
  const std::string expected = fmt::format("a number from {} to {}", low, high);
  if (!value_->is_number()) fail_type(expected);
  const auto number = value_->get<double>();
  if (!(number >= low && number <= high)) fail_type(expected);
  return number;
}

bool JsonField::boolean_or(std::string_view key, bool otherwise) const {
  const std::optional<JsonField> field = find(key);
  return field ? field->boolean() : otherwise;
}

std::string JsonField::string_or(std::string_view key, std::string_view otherwise) const {
  const std::optional<JsonField> field = find(key);
  return field ? field->string() : std::string(otherwise);
}

const Json& JsonField::object() const {
  if (!value_->is_object()) fail_type("an object");
  return *value_;
}

const Json& JsonField::array() const {
  if (!value_->is_array()) fail_type("an array");
  return *value_;
}

std::string JsonField::where() const {
  return path_.empty() ? file_ : fmt::format("{}: {}", file_, path_);
}

void JsonField::fail(std::string_view problem) const {
  throw Error(Error::Kind::kInvalidFile, fmt::format("{}: {}", where(), problem));
}

void JsonField::fail_type(std::string_view expected) const {
  const bool is_short = value_->is_primitive() && !value_->is_string();
  const std::string found = value_->is_string() ? in_quotes(value_->get_ref<const std::string&>())
                            : is_short          ? value_->dump()
                                                : fmt::format("an {}", value_->type_name());
  fail(fmt::format("found {}, expected {}", found, expected));
}

}  // namespace sinkrouter::text
