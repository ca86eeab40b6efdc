#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sinkrouter {

// JSON from a file nobody vouches for: throws Error on a syntax error, a key given twice or
// nesting deeper than any checkpoint's.
nlohmann::json parse_json(std::string_view text, std::string_view file);

// For error messages: printable, on one line and short.
std::string printable(std::string_view text);
std::string describe(const nlohmann::json& value);

// The fields of an object, each checked as it is read; null counts as absent.
class JsonFields {
 public:
  // `prefix` is what the object's fields are called in messages, as in "rope_scaling.".
  JsonFields(const nlohmann::json& object, std::string_view file, std::string_view prefix = "")
      : object_(&object), file_(file), prefix_(prefix) {}

  const nlohmann::json* find(const char* name) const;  // nullptr when absent
  bool is_null(const char* name) const;                // written out as null

  std::optional<std::int64_t> integer(const char* name, std::int64_t low, std::int64_t high) const;
  std::int64_t required_integer(const char* name, std::int64_t low, std::int64_t high) const;
  std::optional<double> number(const char* name, double low, double high) const;
  double required_number(const char* name, double low, double high) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<std::string> text(const char* name) const;
  std::optional<JsonFields> object(const char* name) const;

  // Throws "FILE: NAME is VALUE, expected EXPECTED".
  [[noreturn]] void fail(const char* name, std::string_view expected) const;

 private:
  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

}  // namespace sinkrouter
