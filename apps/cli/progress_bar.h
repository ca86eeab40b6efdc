#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace sinkrouter::cli {

// A line on stderr that shows how far a long job is; nothing when stderr is not a terminal. Every
// update also ends the job after Ctrl-C, by throwing Interrupted.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::string_view what, double done);  // done from 0 to 1
  void clear();                                     // takes the line away again

 private:
  using Time = std::chrono::steady_clock::time_point;

  bool on_terminal_;
  bool shown_ = false;
  Time start_;
  Time last_;
};

}  // namespace sinkrouter::cli
