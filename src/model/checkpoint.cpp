#include "model/checkpoint.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/quotes.h"
#include "json/json_field.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20;
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr std::string_view kExtension = ".safetensors";

bool contains(const std::vector<std::string>& sorted_names, std::string_view name) {
  return std::binary_search(sorted_names.begin(), sorted_names.end(), name);
}

[[noreturn]] void fail_without_weights(const std::filesystem::path& directory,
                                       const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (const char* extension : {".bin", ".pth", ".pt", ".gguf"}) {
      if (name.ends_with(extension) && !name.starts_with("training_args")) {
        throw Error(Error::Kind::kInvalidFile,
                    fmt::format("{} has no *.safetensors file; {} is a format that is not "
                                "supported, convert it to safetensors",
                                directory.string(), in_quotes(name)));
      }
    }
  }
  throw Error(Error::Kind::kInvalidFile,
              fmt::format("{} has no *.safetensors file", directory.string()));
}

bool is_plain_file_name(std::string_view name) {
  return name.size() > kExtension.size() && name.ends_with(kExtension) &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace

std::map<std::string, std::string> parse_checkpoint_index(std::string_view json,
                                                          std::string_view file) {
  const JsonField map = JsonField::parse(json, std::string(file)).at("weight_map");
  if (!map.is_object() || map.object().empty()) {
    map.refuse("an object with a file name for each tensor");
  }
  std::map<std::string, std::string> file_of;
  for (const auto& [tensor, value] : map.object().items()) {
    if (!value.is_string() || !is_plain_file_name(value.get_ref<const std::string&>())) {
      map.at(tensor).refuse("a *.safetensors file in the same directory");
    }
    file_of.emplace(tensor, value.get<std::string>());
  }
  return file_of;
}

Checkpoint::Checkpoint(const std::filesystem::path& directory) : directory_(directory) {
  const std::vector<std::string> names = file_names(directory);
  if (sinkrouter::contains(names, kSingleFile)) {
    add_file(directory / kSingleFile);
  } else if (sinkrouter::contains(names, kIndexFile)) {
    add_indexed_files(directory / kIndexFile);
  } else {
    for (const std::string& name : names) {
      if (is_plain_file_name(name)) add_file(directory / name);
    }
  }
  if (files_.empty()) fail_without_weights(directory, names);
}

void Checkpoint::add_file(const std::filesystem::path& path) {
  const SafetensorsFile& file = files_.emplace_back(path);
  for (const auto& [name, entry] : file.header().tensors) {
    const auto [found, added] = file_of_.emplace(name, files_.size() - 1);
    SR_CHECK(added, kInvalidFile, "{}: tensor {} is also in {}", path.string(), in_quotes(name),
             files_[found->second].path().filename().string());
  }
}

void Checkpoint::add_indexed_files(const std::filesystem::path& index) {
  const auto file_of =
      parse_checkpoint_index(read_text_file(index, kMaxIndexBytes), index.string());
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : file_of) shards.insert(shard);
  for (const std::string& shard : shards) add_file(directory_ / shard);
  for (const auto& [tensor, shard] : file_of) {
    const auto found = file_of_.find(tensor);
    SR_CHECK(found != file_of_.end() && files_[found->second].path().filename() == shard,
             kInvalidFile, "{}: weight_map has {} for tensor {}, which is not in that file",
             index.string(), in_quotes(shard), in_quotes(tensor));
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

void Checkpoint::require_whole() const {
  for (const SafetensorsFile& file : files_) file.require_whole();
}

TensorView Checkpoint::tensor(std::string_view name, std::initializer_list<std::int64_t> shape) {
  const std::span<const std::int64_t> expected(shape.begin(), shape.size());
  const auto found = file_of_.find(name);
  SR_CHECK(found != file_of_.end(), kInvalidFile,
           "{}: no tensor {} in {} safetensors file(s), expected one with shape {}",
           directory_.string(), in_quotes(name), files_.size(), shape_text(expected));
  SafetensorsFile& file = files_[found->second];
  const std::vector<std::int64_t>& actual = file.header().tensors.find(name)->second.shape;
  SR_CHECK(std::equal(actual.begin(), actual.end(), expected.begin(), expected.end()), kInvalidFile,
           "{}: tensor {} has shape {}, expected {} by config.json", file.path().string(),
           in_quotes(name), shape_text(actual), shape_text(expected));
  return file.tensor(name);
}

}  // namespace sinkrouter
