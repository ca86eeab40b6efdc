#include "progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "interrupt.h"

namespace sinkrouter::cli {
namespace {

constexpr int kBarWidth = 28;
constexpr auto kRedrawAfter = std::chrono::milliseconds(100);

std::string clock_time(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar()
    : on_terminal_(isatty(STDERR_FILENO) != 0), start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::update(std::string_view what, double done) {
  check_interrupt();
  if (!on_terminal_) return;
  const Time now = std::chrono::steady_clock::now();
  if (shown_ && now - last_ < kRedrawAfter) return;
  last_ = now;
  done = std::clamp(done, 0.0, 1.0);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const int filled = static_cast<int>(done * kBarWidth);
  std::string line = fmt::format("\r\x1b[K{} [{:#<{}}{:.<{}}] {:3.0f}%", what, "", filled, "",
                                 kBarWidth - filled, 100 * done);
  if (done > 0.02) line += fmt::format("  {} left", clock_time(seconds * (1 - done) / done));
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressBar::clear() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace sinkrouter::cli
