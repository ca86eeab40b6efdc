#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "commands.h"
#include "flags.h"
#include "progress_bar.h"
#include "sinkrouter/bench.h"
#include "sinkrouter/error.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct AttentionFlags {
  AttentionBenchOptions options;
  std::string shape = "embedded";
  std::string device = "cpu";
  std::string kv_dtype = "bf16";
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  bool json = false;
};

AttentionShape shape_of(const AttentionFlags& flags) {
  AttentionShape shape = attention_shape(flags.shape);
  if (flags.q_heads == 0 && flags.kv_heads == 0 && flags.head_dim == 0) return shape;
  if (flags.q_heads != 0) shape.q_heads = flags.q_heads;
  if (flags.kv_heads != 0) shape.kv_heads = flags.kv_heads;
  if (flags.head_dim != 0) shape.head_dim = flags.head_dim;
  shape.name = fmt::format("q{}-kv{}-d{}", shape.q_heads, shape.kv_heads, shape.head_dim);
  return shape;
}

std::string summary(const AttentionBenchResult& result) {
  const AttentionBenchOptions& options = result.options;
  Table table({"", "us/layer", "GB/s", "of ceiling", "KV read"});
  const auto add = [&](const std::string& label, double us, double rate, double read) {
    table.add({label, fmt::format("{:.1f}", us), fmt::format("{:.2f}", rate),
               percent(rate / result.read_ceiling_gb_per_s), percent(read)});
  };
  add("dense", result.dense_median_us, result.dense_gb_per_s, 1.0);
  add(result.policy, result.median_us, result.achieved_gb_per_s, result.kv_read_fraction);
  return fmt::format(
      "{}: {} q / {} KV heads, head dim {}, context {}, batch {}, {}; {}\n"
      "{} layers in turn, {} repetitions; medians\n\n{}\n"
      "speedup {:.2f}x, by bytes {:.2f}x; the machine reads {:.2f} GB/s\n",
      options.shape.name, options.shape.q_heads, options.shape.kv_heads, options.shape.head_dim,
      options.context, options.batch, name(options.kv_dtype), result.device, result.layers,
      result.repetitions, table.text(), result.speedup(), result.ideal_speedup(),
      result.read_ceiling_gb_per_s);
}

void run(const AttentionFlags& flags) {
  AttentionBenchOptions options = flags.options;
  options.shape = shape_of(flags);
  options.kv_dtype = parse_dtype(flags.kv_dtype);
  if (parse_device(flags.device) != DeviceKind::kCpu) {
    throw Error(Error::Kind::kInvalidArgument,
                "device 'cuda' is not in this build; use --device cpu");
  }
  ProgressBar bar;
  const AttentionBenchResult result =
      bench_attention(options, [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  print(flags.json ? to_json(result) + "\n" : summary(result));
}

std::string shape_names() {
  std::vector<std::string> names;
  for (const AttentionShape& shape : known_attention_shapes()) names.push_back(shape.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

void add_bench_attention(CLI::App& parent, Chosen& chosen) {
  CLI::App* command = parent.add_subcommand(
      "attention", "decode attention alone, over random data and lists of a chosen size");
  auto flags = std::make_shared<AttentionFlags>();
  AttentionBenchOptions& options = flags->options;
  const auto add = [&](const char* flag, auto& value, const char* type, const std::string& about) {
    return command->add_option(flag, value, about)->capture_default_str()->type_name(type);
  };
  add("--shape", flags->shape, "NAME", shape_names());
  add("--q-heads", flags->q_heads, "N", "instead of the shape's");
  add("--kv-heads", flags->kv_heads, "N", "instead of the shape's");
  add("--head-dim", flags->head_dim, "N", "instead of the shape's");
  add("--context", options.context, "N", "rows per sequence");
  add("--batch", options.batch, "N", "sequences");
  add("--routed", options.routed, "F", "share of groups that read the kept set only, 0 to 1");
  add("--read", options.read, "F", "share of granules the other groups read, at random");
  add("--window", options.window, "N", "last rows that are always read");
  add("--granule", options.granule, "N", "rows read together");
  command->add_flag("--router", options.router, "time and count the scoring of all blocks too");
  add("--kv-dtype", flags->kv_dtype, "TYPE", "f32, bf16 or f16");
  add("--page-size", options.page_size, "N", "rows per KV page");
  add("--device", flags->device, "NAME", "cpu or cuda");
  add("--threads", options.threads, "N", "CPU threads; 0 uses every core");
  add("--seconds", options.seconds, "S", "time to measure for");
  add("--seed", options.seed, "N", "of the data and lists");
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter bench attention --shape llama-3.1-8b --context 32768 --routed 0.75\n"
      "  sinkrouter bench attention --context 65536 --read 0.1 --granule 1 --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
