#pragma once

#include <fmt/format.h>

#include "sinkrouter/error.h"

// The project's two macros. SR_CHECK guards what comes from outside (arguments, files): `kind` is
// an Error::Kind enumerator, the message is a fmt format. SR_ASSERT guards our own invariants.
#define SR_CHECK(condition, kind, ...)                                                        \
  do {                                                                                        \
    if (!(condition)) [[unlikely]] {                                                          \
      throw ::sinkrouter::Error(::sinkrouter::Error::Kind::kind, ::fmt::format(__VA_ARGS__)); \
    }                                                                                         \
  } while (false)

#define SR_ASSERT(condition)                                                            \
  do {                                                                                  \
    if (!(condition)) [[unlikely]] {                                                    \
      throw ::sinkrouter::Error(                                                        \
          ::sinkrouter::Error::Kind::kInternal,                                         \
          ::fmt::format("internal error: {} ({}:{})", #condition, __FILE__, __LINE__)); \
    }                                                                                   \
  } while (false)
