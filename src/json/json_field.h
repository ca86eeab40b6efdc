#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter {

// A value inside a JSON file that nobody vouches for. It knows where it is, so that every error
// names file and field.
class JsonField {
 public:
  // Throws Error unless the text is a JSON object nested at most 64 deep, no key given twice.
  static JsonField parse(std::string_view text, const std::string& file);
  static JsonField read(const std::filesystem::path& file, std::size_t byte_limit);

  JsonField at(std::string_view key) const;                   // required
  std::optional<JsonField> find(std::string_view key) const;  // nullopt: absent or null
  std::vector<JsonField> items() const;                       // of an array

  std::string string() const;
  bool boolean() const;
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  double number(double low, double high) const;
  bool boolean_or(std::string_view key, bool otherwise) const;
  std::string string_or(std::string_view key, std::string_view otherwise) const;
  std::int64_t integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                          std::int64_t otherwise) const;
  double number_or(std::string_view key, double low, double high, double otherwise) const;
  bool has_null(std::string_view key) const;  // not absent, but null

  bool is_string() const { return value_->is_string(); }
  bool is_array() const { return value_->is_array(); }
  bool is_object() const { return value_->is_object(); }
  bool is_zero() const { return value_->is_number() && value_->get<double>() == 0; }

  const nlohmann::json& object() const;
  const nlohmann::json& array() const;

  std::string where() const;  // "<file>: <field>"
  // Throws Error: "<file>: <field>: <problem>".
  [[noreturn]] void fail(std::string_view problem) const;
  // Throws Error: "<file>: <field>: found <value>, expected <expected>".
  [[noreturn]] void refuse(std::string_view expected) const;

 private:
  JsonField(std::shared_ptr<const nlohmann::json> root, const nlohmann::json* value,
            std::string file, std::string path)
      : root_(std::move(root)), value_(value), file_(std::move(file)), path_(std::move(path)) {}

  std::shared_ptr<const nlohmann::json> root_;
  const nlohmann::json* value_;
  std::string file_;
  std::string path_;
};

}  // namespace sinkrouter
