#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "base/check.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {
namespace {

constexpr std::array kTasks{
    SuiteTask::kNeedle,     SuiteTask::kMultiKey,   SuiteTask::kMultiValue,
    SuiteTask::kMultiQuery, SuiteTask::kVariables,  SuiteTask::kWords,
    SuiteTask::kCopy,       SuiteTask::kPerplexity, SuiteTask::kPerplexityCode};
constexpr std::array kModes{SuiteMode::kDecode, SuiteMode::kPrefill};

template <typename Values>
auto parse(const Values& values, std::string_view what, std::string_view text) {
  std::vector<std::string_view> names;
  for (const auto value : values) {
    if (name(value) == text) return value;
    names.push_back(name(value));
  }
  throw Error(Error::Kind::kInvalidArgument,
              fmt::format("unknown {} '{}'; there are: {}", what, text, fmt::join(names, ", ")));
}

}  // namespace

std::string_view name(SuiteTask task) {
  switch (task) {
    case SuiteTask::kNeedle:
      return "needle";
    case SuiteTask::kMultiKey:
      return "multikey";
    case SuiteTask::kMultiValue:
      return "multivalue";
    case SuiteTask::kMultiQuery:
      return "multiquery";
    case SuiteTask::kVariables:
      return "variables";
    case SuiteTask::kWords:
      return "words";
    case SuiteTask::kCopy:
      return "copy";
    case SuiteTask::kPerplexity:
      return "perplexity";
    case SuiteTask::kPerplexityCode:
      return "perplexity-code";
  }
  SR_ASSERT(!"a task without a name");
  return {};
}

SuiteTask parse_suite_task(std::string_view text) { return parse(kTasks, "task", text); }

std::span<const SuiteTask> suite_tasks() { return kTasks; }

bool is_perplexity(SuiteTask task) {
  return task == SuiteTask::kPerplexity || task == SuiteTask::kPerplexityCode;
}

std::string_view name(SuiteMode mode) { return mode == SuiteMode::kDecode ? "decode" : "prefill"; }

SuiteMode parse_suite_mode(std::string_view text) { return parse(kModes, "question mode", text); }

}  // namespace sinkrouter
