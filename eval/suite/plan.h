#pragma once

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

}  // namespace sinkrouter
