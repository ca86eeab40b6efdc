#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor_view.h"
#include "model/safetensors.h"

namespace sinkrouter {

// Reads model.safetensors.index.json: the file that holds each tensor. Throws Error naming `file`
// when it is malformed or names anything but *.safetensors files beside it.
std::map<std::string, std::string> parse_checkpoint_index(std::string_view json,
                                                          std::string_view file);

// The tensors of a Hugging Face directory: model.safetensors, or the shards that
// model.safetensors.index.json lists, or else every *.safetensors file there.
class Checkpoint {
 public:
  // Throws Error when the files are missing, broken or contradict each other.
  explicit Checkpoint(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  bool contains(std::string_view name) const { return file_of_.contains(name); }
  std::vector<std::string> names() const;  // ascending

  // The named tensor, which must have exactly this shape; valid as long as this object is.
  TensorView tensor(std::string_view name, std::initializer_list<std::int64_t> shape);

  // Throws Error when a file has lost bytes since it was opened, which makes tensors unreadable.
  void require_whole() const;

 private:
  void add_file(const std::filesystem::path& path);
  void add_indexed_files(const std::filesystem::path& index);

  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t, std::less<>> file_of_;  // tensor name -> index in files_
};

}  // namespace sinkrouter
