#pragma once

#include "eval/suite/fingerprint.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// Questions are spread over the documents as evenly as they go: how many the documents before
// `document` have together.
inline int questions_before(const SuiteSettings& settings, int document) {
  return static_cast<int>(std::int64_t{settings.samples} * document / settings.documents);
}

// Scores that a cell has after so many documents.
inline int scores_after(const SuiteSettings& settings, SuiteTask task, int documents) {
  return is_perplexity(task) ? documents : questions_before(settings, documents);
}

// Each document has a seed of its own, whatever else is run.
inline std::uint64_t document_seed(std::uint64_t seed, SuiteTask task, int context, int document) {
  Fingerprint fingerprint;
  fingerprint.add(seed);
  fingerprint.add(name(task));
  fingerprint.add(static_cast<std::uint64_t>(context));
  fingerprint.add(static_cast<std::uint64_t>(document));
  return fingerprint.value();
}

}  // namespace sinkrouter
