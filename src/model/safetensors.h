#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/tensor_view.h"

namespace sinkrouter {

// One tensor as a safetensors header describes it; offsets are from the start of the data section.
struct SafetensorsEntry {
  std::string dtype;  // the format's name: "F32", "BF16", "I64", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

using SafetensorsEntries = std::map<std::string, SafetensorsEntry, std::less<>>;

struct SafetensorsHeader {
  SafetensorsEntries tensors;
  std::uint64_t data_start = 0;  // in the file
};

// Reads and checks the header of a whole file's bytes: every entry's size follows from its shape
// and dtype, and the entries fill the data section without holes or overlaps. Throws Error naming
// `file`, the tensor, the value and what was expected.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes, std::string_view file);

// A memory-mapped safetensors file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }

  // The named tensor, valid as long as this object is. Throws Error when there is none, or its
  // dtype is not F32, F16 or BF16, or its rank exceeds TensorView::kMaxRank. Tensors that are not
  // aligned to their elements in the file are copied, once per call.
  TensorView tensor(std::string_view name);

  // Throws Error when the file has lost bytes since it was opened; tensor() asks too.
  void require_whole() const { file_.require_whole(); }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  SafetensorsHeader header_;
  std::vector<std::vector<std::byte>> aligned_copies_;
};

}  // namespace sinkrouter
