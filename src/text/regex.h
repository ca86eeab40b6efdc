#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sinkrouter::text {

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;

  std::size_t size() const { return end - begin; }
  std::string_view of(std::string_view text) const { return text.substr(begin, size()); }
};

// A compiled pattern: a regular expression over valid UTF-8, or a literal string.
class Regex {
 public:
  enum class Syntax { kExpression, kLiteral };

  // Throws Error, its message starting with `where`, when the pattern cannot be compiled.
  Regex(std::string_view pattern, Syntax syntax, std::string_view where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  const std::string& where() const { return where_; }

 private:
  friend class RegexMatcher;
  struct Code;

  std::string where_;
  std::string literal_;  // used when code_ is null
  std::unique_ptr<Code> code_;
};

// How long the work on a text may take: seconds for each MiB, far more than any sane pattern needs.
class TimeLimit {
 public:
  using Clock = std::chrono::steady_clock;

  explicit TimeLimit(std::size_t text_bytes);

  // Throws Error, naming `where`, when the time is up.
  void check(Clock::time_point now, const std::string& where) const;

 private:
  Clock::time_point deadline_;
};

// Finds matches of one pattern, in one thread. The work is bounded: Error instead of a hang when a
// pattern backtracks without end, or when the time is up.
class RegexMatcher {
 public:
  // `text_bytes`: of all subjects together.
  RegexMatcher(const Regex& regex, std::size_t text_bytes, const TimeLimit& limit);
  ~RegexMatcher();
  RegexMatcher(const RegexMatcher&) = delete;
  RegexMatcher& operator=(const RegexMatcher&) = delete;

  // The matches of `subject` one after the other, then nullopt; afterwards begins the next subject.
  // An empty match moves on by a character.
  std::optional<Span> next(std::string_view subject);

 private:
  struct Workspace;

  std::optional<Span> find(std::string_view subject, std::size_t from);
  int match(std::string_view subject, std::size_t from, std::size_t last_start);

  const Regex& regex_;
  const TimeLimit& limit_;
  std::size_t from_ = 0;    // where the next match may begin; past the end: nowhere
  std::size_t starts_ = 0;  // that the next call into PCRE2 may try
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace sinkrouter::text
