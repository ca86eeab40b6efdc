#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace sinkrouter::cli {

// What the command line asked for; empty until a command's arguments were all understood.
using Chosen = std::function<void()>;

// Each adds one command to `parent` that sets `chosen` when it is the one given.
void add_generate(CLI::App& parent, Chosen& chosen);
void add_compare(CLI::App& parent, Chosen& chosen);
void add_eval_needle(CLI::App& parent, Chosen& chosen);
void add_eval_perplexity(CLI::App& parent, Chosen& chosen);
void add_eval_drift(CLI::App& parent, Chosen& chosen);
void add_eval_suite(CLI::App& parent, Chosen& chosen);
void add_bench_attention(CLI::App& parent, Chosen& chosen);
void add_bench_decode(CLI::App& parent, Chosen& chosen);
void add_inspect(CLI::App& parent, Chosen& chosen);

}  // namespace sinkrouter::cli
