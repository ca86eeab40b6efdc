#include "model/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/quotes.h"

namespace sinkrouter {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxAxes = 16;
constexpr std::string_view kMetadataKey = "__metadata__";

struct DTypeWidth {
  std::string_view name;
  unsigned bits;
};
constexpr std::array kWidths = {
    DTypeWidth{"F64", 64},    DTypeWidth{"F32", 32},    DTypeWidth{"F16", 16},
    DTypeWidth{"BF16", 16},   DTypeWidth{"F8_E4M3", 8}, DTypeWidth{"F8_E5M2", 8},
    DTypeWidth{"F8_E8M0", 8}, DTypeWidth{"F6_E2M3", 6}, DTypeWidth{"F6_E3M2", 6},
    DTypeWidth{"F4", 4},      DTypeWidth{"I64", 64},    DTypeWidth{"I32", 32},
    DTypeWidth{"I16", 16},    DTypeWidth{"I8", 8},      DTypeWidth{"U64", 64},
    DTypeWidth{"U32", 32},    DTypeWidth{"U16", 16},    DTypeWidth{"U8", 8},
    DTypeWidth{"BOOL", 8},    DTypeWidth{"C64", 64},
};

// Receives the parser's events and accepts exactly the format's grammar, so that neither deep
// nesting nor a long list of anything else is ever stored.
class EntriesReader {
 public:
  EntriesReader(std::uint64_t data_bytes, std::string_view file)
      : data_bytes_(data_bytes), file_(file) {}

  SafetensorsEntries take() { return std::move(entries_); }

  bool start_object(std::size_t) {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTensors;
        return true;
      case Place::kTensors:
        place_ = tensor_ == kMetadataKey ? Place::kMetadata : Place::kFields;
        entry_ = {};
        keys_.clear();
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool end_object() {
    if (place_ == Place::kTensors) {
      place_ = Place::kEnd;
      return true;
    }
    if (place_ == Place::kFields) add_entry();
    place_ = Place::kTensors;
    return true;
  }

  bool key(std::string& name) {
    if (place_ == Place::kTensors) {
      tensor_ = name;
      const bool first =
          name == kMetadataKey ? !std::exchange(metadata_seen_, true) : !entries_.contains(name);
      SR_CHECK(first, kInvalidFile, "{}: tensor {} is given twice", file_, in_quotes(name));
      return true;
    }
    SR_CHECK(keys_.insert(name).second, kInvalidFile, "{}: tensor {} gives {} twice", file_,
             in_quotes(tensor_), in_quotes(name));
    field_ = name;
    const bool known =
        place_ == Place::kMetadata || name == "dtype" || name == "shape" || name == "data_offsets";
    SR_CHECK(known, kInvalidFile,
             "{}: tensor {} has a field {}, expected dtype, shape and data_offsets", file_,
             in_quotes(tensor_), in_quotes(name));
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::kFields || field_ == "dtype") return unexpected("a list");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() {
    if (place_ == Place::kOffsets && offsets_ != 2) {
      fail("data_offsets", fmt::format("a list of {}", offsets_), "two offsets");
    }
    offsets_ = 0;
    place_ = Place::kFields;
    return true;
  }

  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::kShape) {
      if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        fail("shape", fmt::format("{}", value), "sizes that fit in 63 bits");
      }
      if (entry_.shape.size() == kMaxAxes) {
        fail("shape", "a longer list", fmt::format("at most {} axes", kMaxAxes));
      }
      entry_.shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets && offsets_ < 2) {
      (offsets_ == 0 ? entry_.begin : entry_.end) = value;
      ++offsets_;
      return true;
    }
    return unexpected(fmt::format("{}", value));
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kFields || field_ != "dtype") return unexpected(in_quotes(value));
    entry_.dtype = value;
    return true;
  }

  bool number_integer(std::int64_t value) { return unexpected(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) { return unexpected(in_quotes(text)); }
  bool boolean(bool value) { return unexpected(value ? "true" : "false"); }
  bool null() { return unexpected("null"); }
  bool binary(json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: header is not valid JSON at byte {}", file_, position));
  }

 private:
  enum class Place { kStart, kTensors, kMetadata, kFields, kShape, kOffsets, kEnd };

  [[noreturn]] void fail(std::string_view field, std::string_view value,
                         std::string_view expected) const {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: tensor {} has {} {}, expected {}", file_, in_quotes(tensor_),
                            field, value, expected));
  }

  [[noreturn]] bool unexpected(std::string_view value) const {
    switch (place_) {
      case Place::kStart:
      case Place::kEnd:
        throw Error(Error::Kind::kInvalidFile,
                    fmt::format("{}: header is {}, expected an object", file_, value));
      case Place::kTensors:
        throw Error(Error::Kind::kInvalidFile,
                    fmt::format("{}: tensor {} is {}, expected an object", file_,
                                in_quotes(tensor_), value));
      case Place::kMetadata:
        fail(in_quotes(field_), value, "a string");
      case Place::kShape:
        fail("shape with", value, "integers of at least 0");
      case Place::kOffsets:
        fail("data_offsets with", value, "two integers of at least 0");
      case Place::kFields:
        fail(field_, value, field_ == "dtype" ? "a string" : "a list of integers");
    }
    SR_ASSERT(false);
  }

  void add_entry() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      SR_CHECK(keys_.contains(field), kInvalidFile, "{}: tensor {} has no {}", file_,
               in_quotes(tensor_), field);
    }
    if (entry_.begin > entry_.end || entry_.end > data_bytes_) {
      fail("data_offsets", fmt::format("[{}, {}]", entry_.begin, entry_.end),
           fmt::format("ascending offsets of at most {}, the bytes there are", data_bytes_));
    }
    const std::uint64_t bytes = size_from_shape();
    if (entry_.end - entry_.begin != bytes) {
      fail("data_offsets", fmt::format("[{}, {}]", entry_.begin, entry_.end),
           fmt::format("{} bytes for {} {}", bytes, entry_.dtype, shape_text()));
    }
    entries_.emplace(tensor_, std::move(entry_));
  }

  std::uint64_t size_from_shape() const {
    const auto width = std::find_if(kWidths.begin(), kWidths.end(),
                                    [&](const DTypeWidth& w) { return w.name == entry_.dtype; });
    if (width == kWidths.end()) {
      fail("dtype", in_quotes(entry_.dtype), "one of safetensors' names, such as F32 or BF16");
    }
    std::uint64_t bits = width->bits;
    for (const std::int64_t size : entry_.shape) {
      if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(size), &bits)) {
        fail("shape", shape_text(), "a size in bits that fits in 64 bits");
      }
    }
    if (bits % 8 != 0) fail("shape", shape_text(), fmt::format("whole bytes of {}", entry_.dtype));
    return bits / 8;
  }

  std::string shape_text() const { return fmt::format("[{}]", fmt::join(entry_.shape, ", ")); }

  std::uint64_t data_bytes_;
  std::string_view file_;
  Place place_ = Place::kStart;
  SafetensorsEntries entries_;
  bool metadata_seen_ = false;
  std::string tensor_;          // the key last seen in the outer object
  std::set<std::string> keys_;  // seen in the inner object
  std::string field_;           // the last of them
  SafetensorsEntry entry_;
  int offsets_ = 0;  // numbers seen in data_offsets
};

// In order of their offsets, entries must follow each other from 0 to the end of the data.
void check_layout(const SafetensorsEntries& entries, std::uint64_t data_bytes,
                  std::string_view file) {
  std::vector<const SafetensorsEntries::value_type*> order;
  for (const auto& named : entries) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t next = 0;
  for (const auto* named : order) {
    const auto& [name, entry] = *named;
    SR_CHECK(entry.begin == next, kInvalidFile,
             "{}: tensor {} begins at offset {}, expected {}: tensors must neither overlap nor "
             "leave holes",
             file, in_quotes(name), entry.begin, next);
    next = entry.end;
  }
  SR_CHECK(next == data_bytes, kInvalidFile,
           "{}: tensors end at offset {}, expected {}, the bytes there are", file, next,
           data_bytes);
}

}  // namespace

SafetensorsEntries parse_safetensors_entries(std::string_view text, std::uint64_t data_bytes,
                                             std::string_view file) {
  SR_CHECK(text.starts_with('{'), kInvalidFile, "{}: header does not start with '{{'", file);
  EntriesReader reader(data_bytes, file);
  json::sax_parse(text.begin(), text.end(), &reader);
  SafetensorsEntries entries = reader.take();
  check_layout(entries, data_bytes, file);
  return entries;
}

}  // namespace sinkrouter
