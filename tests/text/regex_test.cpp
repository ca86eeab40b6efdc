#include "text/regex.h"

#include <gtest/gtest.h>

#include <vector>

#include "sinkrouter/error.h"

namespace sinkrouter::text {
namespace {

std::vector<std::string> matches(const Regex& regex, std::string_view subject) {
  const TimeLimit limit(subject.size());
  RegexMatcher matcher(regex, subject.size(), limit);
  std::vector<std::string> found;
  while (const auto match = matcher.next(subject)) found.emplace_back(match->of(subject));
  return found;
}

Regex expression(std::string_view pattern) { return {pattern, Regex::Syntax::kExpression, "test"}; }

using Strings = std::vector<std::string>;

TEST(RegexTest, FindsExpressionsAndLiterals) {
  EXPECT_EQ(matches(expression(R"(\p{L}+)"), "ab 1 Ünï"), (Strings{"ab", "Ünï"}));
  EXPECT_EQ(matches(expression(R"((?i:'s))"), "it's IT'S"), (Strings{"'s", "'S"}));
  EXPECT_EQ(matches(expression(R"(\s+(?!\S))"), "a   b"), (Strings{"  "}));
  EXPECT_EQ(matches(expression("^a$"), "a\nb\na"), (Strings{"a", "a"}));
  EXPECT_EQ(matches(expression("x*"), "axé"), (Strings{"", "x", "", ""}));
  EXPECT_EQ(matches(Regex("a.", Regex::Syntax::kLiteral, "test"), "aba.a."), (Strings{"a.", "a."}));
}

TEST(RegexTest, FindsAMatchFarFromTheStart) {
  const std::string subject = std::string(100'000, 'a') + "é" + std::string(70'000, 'a') + "b";
  EXPECT_EQ(matches(expression("[b-z]"), subject), (Strings{"b"}));
}

TEST(RegexTest, RefusesBrokenPatterns) {
  for (const std::string_view pattern : {"(", "[a", "a{2,1}", R"(\p{Nonsense})", R"(\C)", ""}) {
    EXPECT_THROW(expression(pattern), Error) << pattern;
  }
  EXPECT_THROW(expression(std::string(1 << 17, 'a')), Error);
  EXPECT_THROW(matches(expression(R"(a\Kb|(?=a\K))"), "ccab"), Error);
}

TEST(RegexTest, StopsPatternsThatBacktrackWithoutEnd) {
  const std::string many(200, 'a');
  EXPECT_THROW(matches(expression("(a+)+[bc]"), many), Error);
  EXPECT_THROW(matches(expression("(a|aa)+[bc]"), many), Error);
}

TEST(RegexTest, StopsQuadraticPatterns) {
  const std::string many(4'000'000, 'a');
  const TimeLimit limit(0);  // a few seconds
  const Regex quadratic = expression("a+[bc]");
  RegexMatcher matcher(quadratic, many.size(), limit);
  EXPECT_THROW(matcher.next(many), Error);
}

}  // namespace
}  // namespace sinkrouter::text
