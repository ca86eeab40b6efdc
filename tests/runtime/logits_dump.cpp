// logits_dump --model DIR --ids 1,2,3 --prefill N --out FILE [--kv-dtype f32]
// Writes the logits of every token as raw float32 [tokens, vocab_size]: the first N tokens run as
// one prefill, the rest are decoded one by one under dense attention.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <vector>

#include "sinkrouter/engine.h"
#include "sinkrouter/error.h"

namespace {

using namespace sinkrouter;

void write_floats(std::ofstream& file, std::span<const float> values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size_bytes()));
}

void dump(const EngineOptions& options, const std::vector<int>& ids, std::size_t prefill,
          const std::string& out) {
  Engine engine(options);
  Sequence sequence = engine.create_sequence();
  std::ofstream file(out, std::ios::binary);
  if (prefill > 0) {
    engine.prefill(
        sequence, std::span(ids).first(prefill), {},
        [&](std::int64_t, std::span<const float> logits) { write_floats(file, logits); });
  }
  PolicyOptions dense;
  dense.kind = PolicyKind::kDense;
  Sequence* one = &sequence;
  for (std::size_t i = prefill; i < ids.size(); ++i) {
    write_floats(file, engine.decode({&one, 1}, {&ids[i], 1}, dense));
  }
  file.close();
  if (!file) throw Error(Error::Kind::kInvalidFile, "cannot write " + out);
}

}  // namespace

int main(int argc, char** argv) {
  EngineOptions options;
  std::string model, out, kv_dtype = "f32";
  std::vector<int> ids;
  std::size_t prefill = 0;
  CLI::App app{"Writes logits for comparison with other implementations."};
  app.add_option("--model", model)->required();
  app.add_option("--ids", ids)->required()->delimiter(',');
  app.add_option("--prefill", prefill)->required();
  app.add_option("--out", out)->required();
  app.add_option("--kv-dtype", kv_dtype);
  CLI11_PARSE(app, argc, argv);
  try {
    options.model = model;
    options.kv_dtype = parse_dtype(kv_dtype);
    dump(options, ids, std::min(prefill, ids.size()), out);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "logits_dump: %s\n", error.what());
    return 1;
  }
  return 0;
}
