#pragma once

namespace sinkrouter::cli {

// Thrown by check_interrupt() after Ctrl-C, so that everything is put away on the way out.
struct Interrupted {};

// Ctrl-C and SIGTERM set a flag from now on; a second one ends the program at once.
void watch_interrupt();
bool interrupted();
void check_interrupt();

}  // namespace sinkrouter::cli
