#include "bin_check.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/select_shape.h"
#include "router/estimates.h"
#include "router/select.h"

namespace sinkrouter::cuda_tests {
namespace {

constexpr int kAlwaysRead = 0xffff;

// Compares bins with those of the reference's scores, which rounding may put into a neighbour.
class BinCheck {
 public:
  void add(int got, float score, float reference) {
    if (!(score < kInfinity) || !(std::fabs(reference) < kInfinity)) return;
    const double place = (double{score} - reference + 24) * 32;
    const int want = static_cast<int>(std::clamp(std::floor(place), 0.0, 2047.0));
    const int apart = std::abs(got - want);
    const double margin = 32e-3 * std::max(1.0f, std::fabs(score));
    worst_ = std::max(worst_, apart - static_cast<int>(std::ceil(margin)));
    different_ += apart != 0 ? 1 : 0;
    expected_ += std::min(1.0, margin);
    ++all_;
  }
  void finish(const char* stage, Report& report) const {
    if (worst_ > 0 || different_ > expected_ + 5) {
      report.fail(stage, fmt::format("{} of {} bins differ, by up to {} more than rounding",
                                     different_, all_, worst_));
    }
  }

 private:
  int worst_ = 0;
  std::int64_t different_ = 0;
  std::int64_t all_ = 0;
  double expected_ = 0;
};

}  // namespace

void check_granule_bins(const Case& c, const Host& h, const std::vector<float>& scores,
                        const std::vector<float>& references,
                        const std::vector<std::uint16_t>& bins, std::int64_t stride,
                        Report& report) {
  const int granule_rows = std::max(c.granule, kBlockSize);
  const int parts = granule_rows / kBlockSize;
  const int slots = cuda::head_slots(c.group);
  BinCheck check;
  for (int g = 0; g < c.sequences * c.kv_heads; ++g) {
    const int s = g / c.kv_heads;
    const KeptSet kept =
        make_kept_set(c.lengths[s], granule_rows, c.window,
                      {&h.pinned[g * 4], static_cast<std::size_t>(h.pinned_counts[g])});
    for (int granule = kept.head_end; granule < kept.tail_begin; ++granule) {
      for (int q = 0; q < c.group; ++q) {
        const int head = g * c.group + q;
        const int got = bins[(g * stride + granule) * slots + q];
        if (kept.contains(granule) || got == kAlwaysRead) {
          if (!kept.contains(granule) || got != kAlwaysRead) {
            report.fail("tier 0 pinned", entry("granule", granule, got, kAlwaysRead));
          }
          continue;
        }
        double sum = 0;
        for (int k = 0; k < parts; ++k) {
          sum += std::exp(double{scores[head * stride + granule * parts + k]});
        }
        check.add(got, static_cast<float>(std::log(sum)), references[head]);
      }
    }
  }
  check.finish("tier 0 bins", report);
}

void check_row_bins(const Case& c, std::vector<float>& scores, const std::vector<float>& references,
                    const std::vector<std::uint16_t>& bins, const ListedBlocksOfGroups& listed,
                    Report& report) {
  const int slots = cuda::head_slots(c.group);
  const std::int64_t row_stride = listed.stride * kBlockSize;
  BinCheck check;
  for (int g = 0; g < c.sequences * c.kv_heads; ++g) {
    const auto& kept = listed.kept[g];
    for (int i = 0; i < listed.counts[g] * kBlockSize; ++i) {
      const int block = listed.blocks[g * listed.stride + i / kBlockSize];
      const bool is_kept = std::binary_search(kept.begin(), kept.end(), block);
      for (int q = 0; q < c.group; ++q) {
        const int head = g * c.group + q;
        const int got = bins[(g * row_stride + i) * slots + q];
        float& score = scores[head * row_stride + i];
        if (is_kept != (got == kAlwaysRead)) {
          report.fail("tier 1 kept", entry("row", i, got, kAlwaysRead));
          return;
        }
        if (is_kept) {
          score = -kInfinity;
        } else {
          check.add(got, score, references[head]);
        }
      }
    }
  }
  check.finish("tier 1 bins", report);
}

}  // namespace sinkrouter::cuda_tests
