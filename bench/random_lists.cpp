#include "bench/random_lists.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "router/kept_set.h"
#include "router/traffic.h"

namespace sinkrouter {
namespace {

// `count` of `items`, in any order.
void choose(std::vector<std::int32_t>& items, std::size_t count, Rng& rng) {
  for (std::size_t i = 0; i < count; ++i)
    std::swap(items[i], items[i + rng.below(items.size() - i)]);
  items.resize(count);
}

}  // namespace

RandomLists::RandomLists(const ListChoice& choice, int sequences, int kv_heads, int length,
                         std::uint64_t seed)
    : granule_(choice.granule),
      capacity_(granule_count(length, choice.granule)),
      granules_(static_cast<std::size_t>(sequences) * kv_heads * capacity_),
      counts_(static_cast<std::size_t>(sequences) * kv_heads) {
  Rng rng(seed);
  const KeptSet kept = make_kept_set(length, choice.granule, choice.window);
  std::vector<std::int32_t> others;
  for (int granule = 0; granule < kept.granules; ++granule) {
    if (!kept.contains(granule)) others.push_back(granule);
  }
  std::vector<std::int32_t> groups(counts_.size());
  std::iota(groups.begin(), groups.end(), 0);
  choose(groups, static_cast<std::size_t>(std::lround(choice.routed * counts_.size())), rng);
  const auto taken = static_cast<std::size_t>(std::lround(choice.read * others.size()));
  for (std::size_t group = 0; group < counts_.size(); ++group) {
    std::int32_t* list = granules_.data() + group * capacity_;
    int count = write_kept_list(kept, list);
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) {
      std::vector<std::int32_t> chosen = others;
      choose(chosen, taken, rng);
      std::copy(chosen.begin(), chosen.end(), list + count);
      count += static_cast<int>(chosen.size());
      std::sort(list, list + count);
    }
    counts_[group] = count;
    rows_ += listed_rows(list, count, choice.granule, length);
  }
}

GranuleLists RandomLists::view() {
  return {.granules = granules_.data(),
          .counts = counts_.data(),
          .capacity = capacity_,
          .granule = granule_};
}

}  // namespace sinkrouter
