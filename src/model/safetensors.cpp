#include "model/safetensors.h"

#include <algorithm>

#include "base/check.h"
#include "base/quotes.h"
#include "model/safetensors_header.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

std::uint64_t little_endian_u64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return value;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes,
                                           std::string_view file) {
  SR_CHECK(bytes.size() >= kLengthBytes, kInvalidFile,
           "{}: has {} bytes, expected a safetensors file of at least {}", file, bytes.size(),
           kLengthBytes);
  const std::uint64_t length = little_endian_u64(bytes);
  SR_CHECK(length <= kMaxHeaderBytes, kInvalidFile, "{}: header length is {}, expected at most {}",
           file, length, kMaxHeaderBytes);
  SR_CHECK(length <= bytes.size() - kLengthBytes, kInvalidFile,
           "{}: header length is {}, expected at most the {} bytes that follow (truncated?)", file,
           length, bytes.size() - kLengthBytes);
  SafetensorsHeader header;
  header.data_start = kLengthBytes + length;
  const auto* text = reinterpret_cast<const char*>(bytes.data() + kLengthBytes);
  header.tensors = parse_safetensors_entries({text, static_cast<std::size_t>(length)},
                                             bytes.size() - header.data_start, file);
  return header;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(path), header_(parse_safetensors_header(file_.bytes(), path.string())) {}

TensorView SafetensorsFile::tensor(std::string_view name) {
  require_whole();
  const auto found = header_.tensors.find(name);
  SR_CHECK(found != header_.tensors.end(), kInvalidFile, "{}: has no tensor {}", path_.string(),
           in_quotes(name));
  const SafetensorsEntry& entry = found->second;
  SR_CHECK(entry.shape.size() <= TensorView::kMaxRank, kInvalidFile,
           "{}: tensor {} has shape {}, expected at most {} axes", path_.string(), in_quotes(name),
           shape_text(entry.shape), TensorView::kMaxRank);

  TensorView view;
  if (entry.dtype == "F32") {
    view.dtype = DType::kF32;
  } else if (entry.dtype == "F16") {
    view.dtype = DType::kF16;
  } else if (entry.dtype == "BF16") {
    view.dtype = DType::kBF16;
  } else {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: tensor {} has dtype {}, expected F32, F16 or BF16", path_.string(),
                            in_quotes(name), entry.dtype));
  }
  view.rank = static_cast<int>(entry.shape.size());
  std::copy(entry.shape.begin(), entry.shape.end(), view.shape.begin());

  const std::span<const std::byte> data =
      file_.bytes().subspan(header_.data_start + entry.begin, entry.end - entry.begin);
  const std::byte* start = data.data();
  if (reinterpret_cast<std::uintptr_t>(start) % size_in_bytes(view.dtype) != 0) {
    start = aligned_copies_.emplace_back(data.begin(), data.end()).data();
  }
  // Nothing writes to weights; TensorView has one pointer type for all tensors.
  view.data = const_cast<std::byte*>(start);
  return view;
}

}  // namespace sinkrouter
