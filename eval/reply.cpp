#include "eval/reply.h"

#include <algorithm>

#include "eval/tokens.h"

namespace sinkrouter {
namespace {

struct Run {
  std::size_t index = 0;
  Opening opening;
  std::size_t fed = 0;  // of the question's tokens
  int next = 0;         // the token to decode after them
  bool done = false;
};

void take(const Tokenizer& tokenizer, const ReplyOptions& options, int token, Run& run,
          Reply& reply) {
  run.next = token;
  if (is_stop_token(tokenizer, token)) {
    run.done = true;
    return;
  }
  reply.tokens.push_back(token);
  reply.text = tokenizer.decode(reply.tokens);
  run.done = static_cast<int>(reply.tokens.size()) >= run.opening.answer_limit ||
             (options.is_complete && options.is_complete(reply.text));
}

// Decodes in lockstep; questions that end early drop out.
void reply_together(Engine& engine, const ReplyOptions& options, std::vector<Run>& runs,
                    std::vector<Reply>& replies) {
  std::vector<Run*> active;
  std::vector<Sequence*> sequences;
  std::vector<int> tokens;
  for (;;) {
    active.clear();
    sequences.clear();
    tokens.clear();
    for (Run& run : runs) {
      if (run.done) continue;
      active.push_back(&run);
      sequences.push_back(&run.opening.sequence);
      const std::span<const int> question = run.opening.question;
      tokens.push_back(run.fed < question.size() ? question[run.fed++] : run.next);
    }
    if (active.empty()) return;
    const std::span<const float> logits = engine.decode(sequences, tokens, options.policy);
    const std::size_t vocab = logits.size() / active.size();
    for (std::size_t i = 0; i < active.size(); ++i) {
      Run& run = *active[i];
      if (run.fed < run.opening.question.size()) continue;
      take(engine.tokenizer(), options, arg_max(logits.subspan(i * vocab, vocab)), run,
           replies[run.index]);
    }
  }
}

}  // namespace

std::vector<Reply> reply_to(Engine& engine, std::size_t count,
                            const std::function<Opening(std::size_t index)>& open,
                            const ReplyOptions& options) {
  std::vector<Reply> replies(count);
  const auto batch = static_cast<std::size_t>(options.batch);
  for (std::size_t first = 0; first < count; first += batch) {
    std::vector<Run> runs;
    for (std::size_t index = first; index < std::min(count, first + batch); ++index) {
      Run run{.index = index, .opening = open(index)};
      if (run.opening.question.empty()) {
        take(engine.tokenizer(), options, run.opening.first, run, replies[index]);
      }
      runs.push_back(std::move(run));
    }
    reply_together(engine, options, runs, replies);
  }
  return replies;
}

}  // namespace sinkrouter
