#pragma once

#include <stdexcept>
#include <string>

namespace sinkrouter {

// The one exception the library throws. what() is a single line that names the file, field and
// value at fault and says what was expected.
class Error : public std::runtime_error {
 public:
  enum class Kind {
    kInvalidArgument,  // the caller asked for something that cannot be
    kInvalidFile,      // a checkpoint, tokenizer or text is not what it should be
    kOutOfCapacity,    // the KV pool or a fixed limit is full; nothing was changed
    kInternal,         // a broken invariant: a bug in SinkRouter
  };

  Error(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace sinkrouter
