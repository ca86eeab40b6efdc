# Writes OUTPUT, a C++ file that defines `const std::string_view sinkrouter::SYMBOL` as the text of
# INPUT. Literals are limited in length, so the text is cut into pieces the compiler joins.
file(READ "${INPUT}" text)
string(LENGTH "${text}" length)
set(pieces "")
set(offset 0)
while(offset LESS length)
  string(SUBSTRING "${text}" ${offset} 8000 piece)
  string(APPEND pieces "R\"SINK_(${piece})SINK_\"\n")
  math(EXPR offset "${offset} + 8000")
endwhile()
file(WRITE "${OUTPUT}" "#include <string_view>

namespace sinkrouter {
extern const std::string_view ${SYMBOL};
const std::string_view ${SYMBOL} =
${pieces};
}  // namespace sinkrouter
")
