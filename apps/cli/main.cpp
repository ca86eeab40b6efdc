#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "commands.h"
#include "interrupt.h"
#include "sinkrouter/error.h"

namespace sinkrouter::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kBadArguments = 2;
constexpr int kEndedBySignal = 130;  // what a shell reports after Ctrl-C

int fail(int status, std::string message) {
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "sinkrouter: {}\n", message);
  return status;
}

// The deepest command that was named, whose help answers questions about its options.
std::string help_command(const CLI::App& app) {
  std::string words = "sinkrouter";
  const CLI::App* at = &app;
  for (;;) {
    const auto named = at->get_subcommands();
    if (named.empty()) break;
    at = named.front();
    words += " " + at->get_name();
  }
  return words + " --help";
}

std::string names_of(const std::vector<const CLI::App*>& commands) {
  std::string names;
  for (const CLI::App* command : commands) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

// Throws Error for a word that stands where a command should and is none.
void check_commands(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc; ++i) {
    const auto known = at->get_subcommands([](const CLI::App*) { return true; });
    const std::string word = argv[i];
    if (known.empty() || word.starts_with("-")) return;
    const auto found = std::find_if(known.begin(), known.end(), [&](const CLI::App* command) {
      return command->get_name() == word;
    });
    if (found == known.end()) {
      throw Error(Error::Kind::kInvalidArgument,
                  fmt::format("unknown command '{}'; there are: {}", word, names_of(known)));
    }
    at = *found;
  }
}

void add_commands(CLI::App& app, Chosen& chosen) {
  app.name("sinkrouter");
  app.description("Decode attention that reads only the KV rows that matter.");
  app.set_version_flag("--version", std::string("sinkrouter ") + SINKROUTER_VERSION);
  app.footer(
      "Examples:\n"
      "  sinkrouter generate --model DIR --prompt-file document.txt --question \"...\"\n"
      "  sinkrouter compare --model DIR --needle 32768\n"
      "  sinkrouter eval needle --model DIR --context 16384 --policy margin,streaming\n"
      "\n"
      "'sinkrouter <command> --help' lists a command's options. Exit status: 0 done, 1 failed,\n"
      "2 bad arguments.");
  app.require_subcommand(1);
  add_generate(app, chosen);
  add_compare(app, chosen);
  CLI::App* eval = app.add_subcommand("eval", "accuracy and perplexity under policies");
  eval->require_subcommand(1);
  add_eval_needle(*eval, chosen);
  add_eval_perplexity(*eval, chosen);
  add_eval_suite(*eval, chosen);
  add_eval_drift(*eval, chosen);
  CLI::App* bench = app.add_subcommand("bench", "timings beside the machine's read bandwidth");
  bench->require_subcommand(1);
  add_bench_attention(*bench, chosen);
  add_bench_decode(*bench, chosen);
  add_inspect(app, chosen);
}

int run(int argc, const char* const* argv) try {
  CLI::App app;
  Chosen chosen;
  add_commands(app, chosen);
  check_commands(app, argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted) == 0 ? kDone : kFailed;
  } catch (const CLI::ParseError& error) {
    return fail(kBadArguments, fmt::format("{}; see '{}'", error.what(), help_command(app)));
  }
  watch_interrupt();
  chosen();
  return interrupted() ? kEndedBySignal : kDone;
} catch (const Interrupted&) {
  return fail(kEndedBySignal, "interrupted");
} catch (const Error& error) {
  const bool bad_argument = error.kind() == Error::Kind::kInvalidArgument;
  return fail(bad_argument ? kBadArguments : kFailed, error.what());
} catch (const std::bad_alloc&) {
  return fail(kFailed, "out of memory; use a shorter --context or a smaller --capacity");
} catch (const std::exception& error) {
  return fail(kFailed, error.what());
}

}  // namespace
}  // namespace sinkrouter::cli

int main(int argc, char** argv) { return sinkrouter::cli::run(argc, argv); }
