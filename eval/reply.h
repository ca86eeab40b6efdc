#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/engine.h"

namespace sinkrouter {

// The greedy continuation of a question, without the token that ended it.
struct Reply {
  std::string text;
  std::vector<int> tokens;
};

// Where one question stands before it is answered.
struct Opening {
  Sequence sequence;              // the question's own: a fork of what it asks about
  std::span<const int> question;  // tokens still to be decoded; must outlive the reply
  int first = 0;                  // when there are none: the answer's first token
  int answer_limit = 1;           // tokens an answer has at most
};

struct ReplyOptions {
  PolicyOptions policy;
  int batch = 8;  // questions decoded together
  // Whether an answer has come to its end; asked after each of its tokens.
  std::function<bool(std::string_view answer)> is_complete{};
};

// Answers `count` questions greedily under a policy; `open` is called for each index once, a batch
// at a time. An answer ends with a stop token, when it is complete or at its limit.
std::vector<Reply> reply_to(Engine& engine, std::size_t count,
                            const std::function<Opening(std::size_t index)>& open,
                            const ReplyOptions& options);

}  // namespace sinkrouter
