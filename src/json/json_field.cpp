#include "json/json_field.h"

#include <functional>
#include <unordered_set>

#include "base/check.h"
#include "base/file.h"
#include "base/quotes.h"

namespace sinkrouter {
namespace {

constexpr int kMaxDepth = 64;

using Json = nlohmann::json;

// Sees every parse event; refuses what a tree of values would silently accept.
class StrictParse {
 public:
  explicit StrictParse(const std::string& file) : file_(file) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    SR_CHECK(depth <= kMaxDepth, kInvalidFile, "{}: nested deeper than {} levels", file_,
             kMaxDepth);
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      SR_CHECK(keys_.back().insert(key).second, kInvalidFile, "{}: key {} is given twice", file_,
               in_quotes(key));
    }
    return true;
  }

 private:
  const std::string& file_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
};

Json parse_json(std::string_view text, const std::string& file) {
  StrictParse strict(file);
  try {
    return Json::parse(text, std::ref(strict));
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

JsonField JsonField::parse(std::string_view text, const std::string& file) {
  auto root = std::make_shared<const Json>(parse_json(text, file));
  const Json* value = root.get();
  JsonField field(std::move(root), value, file, "");
  if (!value->is_object()) field.refuse("an object");
  return field;
}

JsonField JsonField::read(const std::filesystem::path& file, std::size_t byte_limit) {
  return parse(read_text_file(file, byte_limit), file.string());
}

JsonField JsonField::at(std::string_view key) const {
  std::optional<JsonField> field = find(key);
  if (!field) fail(in_quotes(key) + " is missing");
  return *std::move(field);
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  const Json& parent = object();
  const auto it = parent.find(key);
  if (it == parent.end() || it->is_null()) return std::nullopt;
  const std::string name = printable(key);
  return JsonField(root_, &*it, file_, path_.empty() ? name : fmt::format("{}.{}", path_, name));
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
  if (!value_->is_string()) refuse("a string");
  return value_->get<std::string>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) refuse("true or false");
  return value_->get<bool>();
}

std::int64_t JsonField::integer(std::int64_t low, std::int64_t high) const {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  if (!value_->is_number_integer()) refuse(expected);
  const bool too_large = value_->is_number_unsigned() &&
                         value_->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (too_large) refuse(expected);
  const auto number = value_->get<std::int64_t>();
  if (number < low || number > high) refuse(expected);
  return number;
}

double JsonField::number(double low, double high) const {
  const std::string expected = fmt::format("a number from {} to {}", low, high);
  if (!value_->is_number()) refuse(expected);
  const auto number = value_->get<double>();
  if (!(number >= low && number <= high)) refuse(expected);
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

std::int64_t JsonField::integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                                   std::int64_t otherwise) const {
  const std::optional<JsonField> field = find(key);
  return field ? field->integer(low, high) : otherwise;
}

double JsonField::number_or(std::string_view key, double low, double high, double otherwise) const {
  const std::optional<JsonField> field = find(key);
  return field ? field->number(low, high) : otherwise;
}

bool JsonField::has_null(std::string_view key) const {
  const Json& parent = object();
  const auto it = parent.find(key);
  return it != parent.end() && it->is_null();
}

const Json& JsonField::object() const {
  if (!value_->is_object()) refuse("an object");
  return *value_;
}

const Json& JsonField::array() const {
  if (!value_->is_array()) refuse("an array");
  return *value_;
}

std::string JsonField::where() const {
  return path_.empty() ? file_ : fmt::format("{}: {}", file_, path_);
}

void JsonField::fail(std::string_view problem) const {
  throw Error(Error::Kind::kInvalidFile, fmt::format("{}: {}", where(), problem));
}

void JsonField::refuse(std::string_view expected) const {
  const bool is_short = value_->is_primitive() && !value_->is_string();
  const std::string found = value_->is_string() ? in_quotes(value_->get_ref<const std::string&>())
                            : is_short          ? value_->dump()
                                                : fmt::format("an {}", value_->type_name());
  fail(fmt::format("found {}, expected {}", found, expected));
}

}  // namespace sinkrouter
