#include "eval/suite/store.h"

#include <system_error>

#include "base/check.h"
#include "base/file.h"
#include "eval/whole_file.h"

namespace sinkrouter {
namespace {

constexpr const char* kFileName = "suite.json";
constexpr std::size_t kLargestFile = std::size_t{1} << 28;  // bytes

std::filesystem::path made(const std::filesystem::path& directory) {
  make_folder(directory);
  return directory;
}

template <typename T>
void expect_same(const std::filesystem::path& file, std::string_view field, const T& there,
                 const T& here, std::string_view advice) {
  SR_CHECK(there == here, kInvalidFile,
           "{}: settings.{} is {} and this run's is {}; results would not compare: {}",
           file.string(), field, there, here, advice);
}

void expect_same(const std::filesystem::path& file, const SuiteSettings& there,
                 const SuiteSettings& here) {
  constexpr std::string_view kAgain = "use the same options or another folder";
  constexpr std::string_view kModel = "pass the same model or another folder";
  constexpr std::string_view kText = "pass the same text files or another folder";
  expect_same(file, "model", there.model, here.model, kModel);
  expect_same(file, "model_fingerprint", there.model_fingerprint, here.model_fingerprint, kModel);
  expect_same(file, "kv_dtype", there.kv_dtype, here.kv_dtype, kAgain);
  expect_same(file, "page_size", there.page_size, here.page_size, kAgain);
  expect_same(file, "sketch_bits", there.sketch_bits, here.sketch_bits, kAgain);
  expect_same(file, "samples", there.samples, here.samples, kAgain);
  expect_same(file, "documents", there.documents, here.documents, kAgain);
  expect_same(file, "tokens", there.tokens, here.tokens, kAgain);
  expect_same(file, "seed", there.seed, here.seed, kAgain);
  expect_same(file, "prose_fingerprint", there.prose_fingerprint, here.prose_fingerprint, kText);
  // A run that needs no code is not asked for any.
  if (!there.code_fingerprint.empty() && !here.code_fingerprint.empty()) {
    expect_same(file, "code_fingerprint", there.code_fingerprint, here.code_fingerprint, kText);
  }
}

SuiteResult read_file(const std::filesystem::path& file) {
  return parse_suite(read_text_file(file, kLargestFile), file);
}

}  // namespace

SuiteStore::SuiteStore(const std::filesystem::path& directory, const SuiteSettings& settings)
    : directory_(made(directory)), lock_(directory_) {
  const std::filesystem::path file = directory_ / kFileName;
  if (file_exists(file)) {
    result_ = read_file(file);
    expect_same(file, result_.settings, settings);
    if (result_.settings.code_fingerprint.empty()) {
      result_.settings.code_fingerprint = settings.code_fingerprint;
    }
    return;
  }
  SR_CHECK(file_names(directory_).empty(), kInvalidFile,
           "{}: holds files but no {}; pass an empty folder, a new one, or one of an earlier run",
           directory_.string(), kFileName);
  result_.settings = settings;
}

void SuiteStore::save() const { write_whole_file(directory_ / kFileName, to_json(result_) + "\n"); }

SuiteResult read_suite(const std::filesystem::path& directory) {
  return read_file(directory / kFileName);
}

}  // namespace sinkrouter
