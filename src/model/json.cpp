#include "model/json.h"

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "base/check.h"

namespace sinkrouter {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxQuoted = 80;

// Sees every parse event; refuses what a DOM would silently accept.
class StrictParse {
 public:
  explicit StrictParse(std::string_view file) : file_(file) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    SR_CHECK(depth <= kMaxDepth, kInvalidFile, "{}: nested more than {} levels deep", file_,
             kMaxDepth);
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      SR_CHECK(keys_.back().insert(key).second, kInvalidFile, "{}: key {} is given twice", file_,
               printable(key));
    }
    return true;
  }

 private:
  std::string_view file_;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

json parse_json(std::string_view text, std::string_view file) {
  StrictParse strict(file);
  try {
    return json::parse(text.begin(), text.end(), std::ref(strict));
  } catch (const json::parse_error& error) {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: not valid JSON at byte {} of {}", file, error.byte, text.size()));
  } catch (const json::exception&) {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: a number is too large, expected finite numbers", file));
  }
}

std::string printable(std::string_view text) {
  const auto continues_character = [&](std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  std::size_t length = std::min(text.size(), kMaxQuoted);
  while (length > 0 && continues_character(length)) --length;
  std::string result = "'";
  for (const char c : text.substr(0, length)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  if (length < text.size()) result += "...";
  return result + "'";
}

std::string describe(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return value.dump();
}

const json* JsonFields::find(const char* name) const {
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::is_null(const char* name) const {
  const auto found = object_->find(name);
  return found != object_->end() && found->is_null();
}

void JsonFields::fail(const char* name, std::string_view expected) const {
  const json* value = find(name);
  throw Error(Error::Kind::kInvalidFile,
              value == nullptr
                  ? fmt::format("{}: {}{} is missing, expected {}", file_, prefix_, name, expected)
                  : fmt::format("{}: {}{} is {}, expected {}", file_, prefix_, name,
                                describe(*value), expected));
}

std::optional<std::int64_t> JsonFields::integer(const char* name, std::int64_t low,
                                                std::int64_t high) const {
  if (find(name) == nullptr) return std::nullopt;
  return required_integer(name, low, high);
}

std::int64_t JsonFields::required_integer(const char* name, std::int64_t low,
                                          std::int64_t high) const {
  const json* value = find(name);
  const bool representable =
      value != nullptr && value->is_number_integer() &&
      (!value->is_number_unsigned() || value->get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
  if (!representable || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high) {
    fail(name, fmt::format("an integer from {} to {}", low, high));
  }
  return value->get<std::int64_t>();
}

std::optional<double> JsonFields::number(const char* name, double low, double high) const {
  if (find(name) == nullptr) return std::nullopt;
  return required_number(name, low, high);
}

double JsonFields::required_number(const char* name, double low, double high) const {
  const json* value = find(name);
  if (value == nullptr || !value->is_number() ||
      !(value->get<double>() >= low && value->get<double>() <= high)) {
    fail(name, fmt::format("a number from {} to {}", low, high));
  }
  return value->get<double>();
}

std::optional<bool> JsonFields::boolean(const char* name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::text(const char* name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(name, "a string");
  return value->get<std::string>();
}

std::optional<JsonFields> JsonFields::object(const char* name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail(name, "an object");
  return JsonFields(*value, file_, fmt::format("{}{}.", prefix_, name));
}

}  // namespace sinkrouter
