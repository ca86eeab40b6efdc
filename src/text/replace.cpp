#include "text/replace.h"

#include "base/check.h"
#include "text/unicode_standins.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

constexpr std::size_t kMaxReplacement = 1024;
constexpr std::size_t kGrowthFactor = 16;
constexpr std::size_t kGrowthBase = 1 << 16;

}  // namespace

void check_growth(std::size_t before, std::size_t now, const std::string& where) {
  SR_CHECK(now <= kGrowthBase + kGrowthFactor * before, kInvalidFile,
           "{}: turns {} bytes of text into {} or more, expected at most {} times as many", where,
           before, now, kGrowthFactor);
}

Regex parse_pattern(const JsonField& field) {
  const auto compile = [](const JsonField& pattern, Regex::Syntax syntax) {
    return Regex(pattern.string(), syntax, pattern.where());
  };
  if (const auto literal = field.find("String")) return compile(*literal, Regex::Syntax::kLiteral);
  if (const auto regex = field.find("Regex")) return compile(*regex, Regex::Syntax::kExpression);
  field.fail("found neither 'String' nor 'Regex', expected one of them");
}

std::string parse_replacement(const JsonField& field) {
  std::string text = field.string();
  if (text.size() > kMaxReplacement) {
    field.fail(fmt::format("{} bytes, expected at most {}", text.size(), kMaxReplacement));
  }
  return text;
}

void replace_all(const Regex& pattern, std::string_view content, const TimeLimit& limit,
                 std::string& text) {
  const std::string subject = with_unicode_standins(text);
  RegexMatcher matcher(pattern, subject.size(), limit);
  std::string out;
  std::size_t copied = 0;
  while (const auto match = matcher.next(subject)) {
    out.append(text, copied, match->begin - copied);
    out += content;
    check_growth(text.size(), out.size(), pattern.where());
    copied = match->end;
  }
  out.append(text, copied);
  text = std::move(out);
}

void replace_all(std::string_view from, std::string_view to, std::string& text) {
  std::string out;
  std::size_t copied = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, copied)) {
    out.append(text, copied, at - copied);
    out += to;
    copied = at + from.size();
  }
  out.append(text, copied);
  text = std::move(out);
}

}  // namespace sinkrouter::text
