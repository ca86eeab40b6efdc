#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/quotes.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

constexpr std::size_t kMaxPattern = 1 << 16;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;
constexpr std::uint32_t kMinMatchLimit = 100'000;
constexpr std::uint32_t kMaxMatchLimit = 1'000'000'000;

// PCRE2 bounds the work of one start position only. Calls that try few starts let a clock bound
// their sum; calls that return quickly may try more.
constexpr std::size_t kMinStarts = 64;
constexpr std::size_t kMaxStarts = 1024;
constexpr std::chrono::milliseconds kQuick{1};
constexpr std::chrono::seconds kBaseTime{3};
constexpr std::chrono::microseconds kTimePerByte{10};

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};

using CodePointer = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[128] = {};
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

bool is_continuation(char byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

struct Regex::Code {
  CodePointer pointer;
};

struct RegexMatcher::Workspace {
  MatchContext context;
  MatchData data;
};

Regex::Regex(std::string_view pattern, Syntax syntax, std::string_view where) : where_(where) {
  SR_CHECK(!pattern.empty() && pattern.size() <= kMaxPattern, kInvalidFile,
           "{}: the pattern has {} bytes, expected 1 to {}", where, pattern.size(), kMaxPattern);
  if (syntax == Syntax::kLiteral) {
    literal_ = pattern;
    return;
  }
  const CompileContext context(pcre2_compile_context_create(nullptr));
  SR_ASSERT(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  // ^ and $ match at every line, as in the Oniguruma syntax that tokenizer.json uses.
  constexpr std::uint32_t kOptions =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_ = std::make_unique<Code>();
  code_->pointer.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     kOptions, &error, &offset, context.get()));
  SR_CHECK(code_->pointer != nullptr, kInvalidFile,
           "{}: {} is not a usable regular expression: {} at byte {}", where, in_quotes(pattern),
           message_of(error), offset);
  // Without JIT support (or for a pattern that it does not take) matching interprets the code.
  pcre2_jit_compile(code_->pointer.get(), PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

TimeLimit::TimeLimit(std::size_t text_bytes)
    : deadline_(Clock::now() + kBaseTime +
                static_cast<std::chrono::microseconds::rep>(text_bytes) * kTimePerByte) {}

void TimeLimit::check(Clock::time_point now, const std::string& where) const {
  SR_CHECK(now < deadline_, kInvalidArgument,
           "{}: the pattern takes too long on this text, expected under {} s and {} s per MiB",
           where, kBaseTime.count(), kTimePerByte.count());
}

RegexMatcher::RegexMatcher(const Regex& regex, std::size_t text_bytes, const TimeLimit& limit)
    : regex_(regex), limit_(limit), starts_(kMinStarts) {
  if (regex.code_ == nullptr) return;
  workspace_ = std::make_unique<Workspace>();
  workspace_->context.reset(pcre2_match_context_create(nullptr));
  workspace_->data.reset(pcre2_match_data_create(1, nullptr));
  SR_ASSERT(workspace_->context != nullptr && workspace_->data != nullptr);
  pcre2_match_context* context = workspace_->context.get();
  const std::size_t work = std::min<std::size_t>(kMinMatchLimit + 4 * text_bytes, kMaxMatchLimit);
  pcre2_set_match_limit(context, static_cast<std::uint32_t>(work));
  pcre2_set_depth_limit(context, static_cast<std::uint32_t>(work));
  pcre2_set_heap_limit(context, kHeapLimitKiB);
}

RegexMatcher::~RegexMatcher() = default;

std::optional<Span> RegexMatcher::next(std::string_view subject) {
  std::optional<Span> match;
  if (from_ <= subject.size()) match = find(subject, from_);
  if (!match) {
    from_ = 0;
    return match;
  }
  from_ = match->end;
  if (match->size() == 0) from_ += from_ < subject.size() ? utf8_length(subject[from_]) : 1;
  return match;
}

std::optional<Span> RegexMatcher::find(std::string_view subject, std::size_t from) {
  if (workspace_ == nullptr) {
    const std::size_t at = subject.find(regex_.literal_, from);
    if (at == std::string_view::npos) return std::nullopt;
    return Span{at, at + regex_.literal_.size()};
  }
  TimeLimit::Clock::time_point before = TimeLimit::Clock::now();
  for (;;) {
    std::size_t last_start = std::min(from + starts_, subject.size());
    while (last_start < subject.size() && is_continuation(subject[last_start])) ++last_start;
    const int result = match(subject, from, last_start);
    const TimeLimit::Clock::time_point after = TimeLimit::Clock::now();
    limit_.check(after, regex_.where_);
    starts_ = after - before < kQuick ? std::min(2 * starts_, kMaxStarts) : kMinStarts;
    before = after;
    if (result != PCRE2_ERROR_NOMATCH) {
      SR_CHECK(result >= 0, kInvalidArgument,
               "{}: matching fails at byte {} of a text of {} bytes: {}", regex_.where_, from,
               subject.size(), message_of(result));
      const PCRE2_SIZE* found = pcre2_get_ovector_pointer(workspace_->data.get());
      SR_CHECK(found[0] >= from && found[1] >= found[0], kInvalidFile,
               "{}: the pattern matches backwards, expected one without \\K in it", regex_.where_);
      return Span{found[0], found[1]};
    }
    if (last_start == subject.size()) return std::nullopt;
    from = last_start;
  }
}

int RegexMatcher::match(std::string_view subject, std::size_t from, std::size_t last_start) {
  pcre2_set_offset_limit(workspace_->context.get(), last_start);
  const auto run = [&](std::uint32_t options) {
    return pcre2_match(regex_.code_->pointer.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()),
                       subject.size(), from, PCRE2_NO_UTF_CHECK | options, workspace_->data.get(),
                       workspace_->context.get());
  };
  const int result = run(0);
  return result == PCRE2_ERROR_JIT_STACKLIMIT ? run(PCRE2_NO_JIT) : result;
}

}  // namespace sinkrouter::text
