#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "device_array.h"
#include "kernels/cuda/append.h"
#include "router_checks.h"

namespace sinkrouter::cuda_tests {

namespace {

bool near_relative(float got, float want, float tolerance) {
  return std::isnan(got) == std::isnan(want) &&
         (std::isnan(want) || std::fabs(got - want) <= tolerance * std::fabs(want) + 1e-6f);
}

// The least-squares scale of a row's codes, which lie kBlockSize words apart.
double fitted_scale(const Case& c, const std::vector<float>& rotation,
                    const std::vector<float>& key, const std::uint8_t* mean_codes, float mean_scale,
                    const std::uint32_t* codes) {
  const double centre = 0.5 * ((1 << c.bits) - 1);
  const int channels = 32 / c.bits;  // of a word
  double along = 0;
  double weight = 0;
  for (int o = 0; o < c.dim; ++o) {
    double rotated = 0;
    for (int i = 0; i < c.dim; ++i) {
      const double mean = double{mean_scale} * to_float(Float8E4M3{mean_codes[i]});
      rotated += double{rotation[o * c.dim + i]} * (double{key[i]} - mean);
    }
    const int within = o % channels;
    const int shift = within % 4 * 8 + within / 4 * c.bits;
    const auto code = codes[o / channels * kBlockSize] >> shift & ((1u << c.bits) - 1);
    const double level = code - centre;
    along += rotated * level;
    weight += level * level;
  }
  return along / weight;
}

}  // namespace

void check_append(const Case& c, const Host& h, Rng& rng, Report& report) {
  const KvView kv = h.view(c);
  DeviceArray<std::uint8_t> d_keys(h.keys.size());
  DeviceArray<std::uint8_t> d_values(h.values.size());
  DeviceArray<std::int32_t> d_table(h.table);
  DeviceArray<std::uint8_t> d_codes(h.codes.size());
  DeviceArray<float> d_scales(h.scales.size());
  DeviceArray<std::uint32_t> d_sketch_codes(h.sketch_codes.size());
  DeviceArray<Float16> d_sketch_scales(h.sketch_scales.size());
  DeviceArray<Float16> d_sketch_misses(h.sketch_misses.size());
  DeviceArray<float> d_rotation(h.rotation);
  // Every sequence gets the same number of tokens at a time; those that have enough sit out.
  std::vector<int> done(c.sequences, 0);
  const auto at = [&](const std::vector<std::uint8_t>& data, std::int64_t index) {
    float x = 0;
    visit_dtype<float, BFloat16, Float16>(c.dtype, [&]<typename T>() {
      x = to_float(reinterpret_cast<const T*>(data.data())[index]);
    });
    return x;
  };
  while (true) {
    int least = std::numeric_limits<int>::max();
    for (int s = 0; s < c.sequences; ++s) {
      if (done[s] < c.lengths[s]) least = std::min(least, c.lengths[s] - done[s]);
    }
    if (least == std::numeric_limits<int>::max()) break;
    const int tokens = rng.below(3) == 0
                           ? 1
                           : static_cast<int>(std::min<std::uint64_t>(least, 1 + rng.below(900)));
    std::vector<std::int32_t> first(c.sequences, -1);
    std::vector<float> new_keys(static_cast<std::size_t>(c.sequences) * tokens * c.kv_heads * c.dim,
                                kNaN);
    std::vector<float> new_values = new_keys;
    for (int s = 0; s < c.sequences; ++s) {
      if (done[s] + tokens > c.lengths[s]) continue;
      first[s] = done[s];
      for (int t = 0; t < tokens; ++t) {
        for (int head = 0; head < c.kv_heads; ++head) {
          for (int i = 0; i < c.dim; ++i) {
            const std::size_t to =
                ((static_cast<std::size_t>(s) * tokens + t) * c.kv_heads + head) * c.dim + i;
            new_keys[to] = at(h.keys, row_offset(kv, s, head, done[s] + t) + i);
            new_values[to] = at(h.values, row_offset(kv, s, head, done[s] + t) + i);
          }
        }
      }
      done[s] += tokens;
    }
    DeviceArray<float> d_new_keys(new_keys);
    DeviceArray<float> d_new_values(new_values);
    DeviceArray<std::int32_t> d_first(first);
    cuda::AppendParams p;
    p.keys = d_new_keys.data();
    p.values = d_new_values.data();
    p.tokens = tokens;
    p.first_positions = d_first.data();
    p.kv = kv;
    p.kv.keys = d_keys.data();
    p.kv.values = d_values.data();
    p.kv.page_table = d_table.data();
    p.kv.lengths = nullptr;
    p.moment_codes = d_codes.data();
    p.moment_scales = d_scales.data();
    p.sketch_bits = c.bits;
    p.sketch_codes = d_sketch_codes.data();
    p.sketch_scales = d_sketch_scales.data();
    p.sketch_misses = d_sketch_misses.data();
    p.rotation = d_rotation.data();
    cuda::launch_append(p, nullptr);
    cuda::check(cudaDeviceSynchronize(), "append");
  }
  for (const bool good :
       {d_keys.guarded(), d_values.guarded(), d_codes.guarded(), d_scales.guarded(),
        d_sketch_codes.guarded(), d_sketch_scales.guarded(), d_sketch_misses.guarded()}) {
    if (!good) report.fail("append", "bytes around a buffer were written");
  }
  const auto keys = d_keys.get();
  const auto values = d_values.get();
  const auto codes = d_codes.get();
  const auto scales = d_scales.get();
  const auto sketch_codes = d_sketch_codes.get();
  const auto sketch_scales = d_sketch_scales.get();
  const auto sketch_misses = d_sketch_misses.get();
  const std::size_t row_bytes = c.dim * size_in_bytes(c.dtype);
  std::int64_t differing = 0, compared = 0;
  for (int s = 0; s < c.sequences; ++s) {
    for (int head = 0; head < c.kv_heads; ++head) {
      for (int t = 0; t < c.lengths[s]; ++t) {
        const std::size_t offset = row_offset(kv, s, head, t) * size_in_bytes(c.dtype);
        const bool flawed = c.flaw == 1;  // the bits of a NaN may differ
        if (!flawed && (std::memcmp(&keys[offset], &h.keys[offset], row_bytes) != 0 ||
                        std::memcmp(&values[offset], &h.values[offset], row_bytes) != 0)) {
          report.fail("append rows", fmt::format("sequence {} head {} row {} differs", s, head, t));
          break;
        }
      }
      for (int b = 0; b < c.lengths[s] / kBlockSize; ++b) {
        const std::int64_t index = block_index(c, h, s, head, b);
        if (!(std::fabs(scales[index] - h.scales[index]) <= 1e-5f * std::fabs(h.scales[index])) &&
            !(std::isnan(scales[index]) && std::isnan(h.scales[index]))) {
          report.fail("append moment scale", entry("block", b, scales[index], h.scales[index]));
        }
        if (std::isnan(h.scales[index])) continue;
        bool same_mean = true;
        for (int i = 0; i < 2 * c.dim; ++i) {
          ++compared;
          const int got = codes[index * 2 * c.dim + i];
          const int want = h.codes[index * 2 * c.dim + i];
          differing += got != want;
          same_mean = same_mean && (i >= c.dim || got == want);
          const int apart =
              (got & 0x80) == (want & 0x80) ? std::abs(got - want) : (got & 0x7f) + (want & 0x7f);
          if (apart > 1) {
            report.fail("append moment codes",
                        entry(fmt::format("block {} at", b).c_str(), i, got, want));
            break;
          }
        }
        const int words = c.dim * c.bits / 32;
        for (int r = 0; r < kBlockSize; ++r) {
          // A code may round the other way, more of them where the mean did.
          int off = 0;
          int most = 0;
          for (int w = 0; w < words; ++w) {
            const std::uint32_t got = sketch_codes[(index * words + w) * kBlockSize + r];
            const std::uint32_t want = h.sketch_codes[(index * words + w) * kBlockSize + r];
            for (int k = 0; k < 32; k += c.bits) {
              const int mask = (1 << c.bits) - 1;
              const int apart =
                  std::abs(static_cast<int>(got >> k & mask) - static_cast<int>(want >> k & mask));
              off += apart;
              most = std::max(most, apart);
            }
          }
          ++compared;
          differing += off > 0;
          if ((off > (same_mean ? 3 : 24) || most > 1) && c.flaw != 3) {
            report.fail("append sketch codes",
                        fmt::format("block {} row {}: {} codes off, by {}", b, r, off, most));
            break;
          }
          // The scale fits the codes as they were written.
          const float got = to_float(sketch_scales[index * kBlockSize + r]);
          const float want = to_float(h.sketch_scales[index * kBlockSize + r]);
          if (off == 0 && same_mean) {
            if (!near_relative(got, want, 2e-3f)) {
              report.fail("append sketch scale",
                          entry(fmt::format("block {} row", b).c_str(), r, got, want));
              break;
            }
          } else if (c.flaw != 3) {
            std::vector<float> key(c.dim);
            for (int i = 0; i < c.dim; ++i) {
              key[i] = at(h.keys, row_offset(kv, s, head, b * kBlockSize + r) + i);
            }
            const double fitted =
                fitted_scale(c, h.rotation, key, &codes[index * 2 * c.dim], scales[index],
                             &sketch_codes[index * words * kBlockSize + r]);
            if (!near_relative(got, static_cast<float>(fitted), 2e-3f)) {
              report.fail("append sketch scale",
                          entry(fmt::format("block {} row", b).c_str(), r, got, fitted));
              break;
            }
          }
          const float miss = to_float(sketch_misses[index * kBlockSize + r]);
          const float want_miss = to_float(h.sketch_misses[index * kBlockSize + r]);
          if (off == 0 && same_mean &&
              !(miss >= want_miss * 0.9995f && miss <= want_miss * 1.01f + 1e-2f) &&
              !(std::isnan(miss) && std::isnan(want_miss))) {
            report.fail("append sketch miss",
                        entry(fmt::format("block {} row", b).c_str(), r, miss, want_miss));
            break;
          }
        }
      }
    }
  }
  // Keys that are all alike leave nothing but rounding to sketch.
  if (c.flaw != 3 && differing * 200 > compared)
    report.fail("append", fmt::format("{} of {} codes differ", differing, compared));
}

}  // namespace sinkrouter::cuda_tests
