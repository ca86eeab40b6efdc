#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "json/json_field.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

// Covers ASCII and every character of byte-level BPE.
constexpr char32_t kLowCharacters = 512;
constexpr std::int32_t kNone = -1;
constexpr int kMerged = -1;
constexpr std::size_t kMaxWordBytes = std::numeric_limits<std::int32_t>::max();

std::size_t hash_pair(int left, int right) {
  const auto pair = (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
  return static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15ull) >> 32);
}

}  // namespace

BpeModel::BpeModel(PieceIds vocabulary, const std::vector<Merge>& merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)), low_characters_(kLowCharacters), options_(options) {
  merges_.resize(std::bit_ceil(2 * merges.size() + 1), {.result = -1});
  for (const Merge& merge : merges) {
    std::size_t slot = hash_pair(merge.left, merge.right) & (merges_.size() - 1);
    while (merges_[slot].result >= 0 &&
           (merges_[slot].left != merge.left || merges_[slot].right != merge.right)) {
      slot = (slot + 1) & (merges_.size() - 1);
    }
    merges_[slot] = merge;
  }
  for (char32_t character = 0; character < kLowCharacters; ++character) {
    std::string piece;
    utf8_append(character, piece);
    low_characters_[character] = find(piece).value_or(-1);
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

std::optional<int> BpeModel::find(std::string_view piece) const {
  const auto it = vocabulary_.find(piece);
  if (it == vocabulary_.end()) return std::nullopt;
  return it->second;
}

bool BpeModel::Workspace::is_worse(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

void BpeModel::encode(std::string_view word, Workspace& workspace, std::vector<int>& out) const {
  if (options_.ignore_merges) {
    if (const std::optional<int> id = find(word)) {
      out.push_back(*id);
      return;
    }
  }
  split(word, workspace);

  auto& symbols = workspace.symbols_;
  auto& heap = workspace.heap_;
  heap.clear();
  const auto propose_and_sift = [&](std::int32_t position) {
    if (propose(position, workspace)) {
      std::push_heap(heap.begin(), heap.end(), Workspace::is_worse);
    }
  };
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t position = 0; position < count; ++position) propose(position, workspace);
  std::make_heap(heap.begin(), heap.end(), Workspace::is_worse);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), Workspace::is_worse);
    const Workspace::Candidate best = heap.back();
    heap.pop_back();
    // A candidate is stale when one of its symbols has merged with another since.
    Workspace::Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == kNone) continue;
    Workspace::Symbol& right = symbols[left.next];
    if (right.id != best.right) continue;
    left.id = best.result;
    left.next = right.next;
    right.id = kMerged;
    if (left.next != kNone) symbols[left.next].previous = best.position;
    if (left.previous != kNone) propose_and_sift(left.previous);
    propose_and_sift(best.position);
  }
  for (const Workspace::Symbol& symbol : symbols) {
    if (symbol.id != kMerged) out.push_back(symbol.id);
  }
}

void BpeModel::split(std::string_view word, Workspace& workspace) const {
  auto& symbols = workspace.symbols_;
  symbols.clear();
  SR_CHECK(word.size() <= kMaxWordBytes, kInvalidArgument,
           "text: a word of {} bytes, expected at most {}", word.size(), kMaxWordBytes);
  const auto append = [&](int id) { symbols.push_back({id, kNone, kNone}); };
  bool pending_unk = false;
  for (std::size_t at = 0; at < word.size();) {
    const int length = utf8_length(word[at]);
    if (const std::optional<int> id = character_id(word, at, length)) {
      if (pending_unk) append(*options_.unk_id);
      pending_unk = false;
      append(*id);
    } else if (!append_bytes(word.substr(at, length), workspace)) {
      SR_CHECK(options_.unk_id.has_value(), kInvalidArgument,
               "text: no piece of the tokenizer's vocabulary stands for character U+{:04X}",
               static_cast<std::uint32_t>(utf8_decode(word, at)));
      if (pending_unk && !options_.fuse_unk) append(*options_.unk_id);
      pending_unk = true;
    }
    at += length;
  }
  if (pending_unk) append(*options_.unk_id);
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i < count; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : kNone;
  }
}

std::optional<int> BpeModel::character_id(std::string_view word, std::size_t at, int length) const {
  const char32_t character = utf8_decode(word, at);
  if (character >= kLowCharacters) return find(word.substr(at, length));
  const int id = low_characters_[character];
  return id < 0 ? std::nullopt : std::optional(id);
}

bool BpeModel::append_bytes(std::string_view character, Workspace& workspace) const {
  const auto id_of = [&](char byte) { return byte_ids_[static_cast<std::uint8_t>(byte)]; };
  const bool possible =
      options_.byte_fallback &&
      std::all_of(character.begin(), character.end(), [&](char byte) { return id_of(byte) >= 0; });
  if (!possible) return false;
  for (const char byte : character) {
    workspace.symbols_.push_back({id_of(byte), kNone, kNone});
  }
  return true;
}

const Merge* BpeModel::find_merge(int left, int right) const {
  const std::size_t mask = merges_.size() - 1;
  for (std::size_t slot = hash_pair(left, right) & mask;; slot = (slot + 1) & mask) {
    const Merge& merge = merges_[slot];
    if (merge.result < 0) return nullptr;
    if (merge.left == left && merge.right == right) return &merge;
  }
}

// Adds the merge of the symbols at `position` and behind it to the end of the heap.
bool BpeModel::propose(std::int32_t position, Workspace& workspace) const {
  const Workspace::Symbol& left = workspace.symbols_[position];
  if (left.next == kNone) return false;
  const Merge* merge = find_merge(left.id, workspace.symbols_[left.next].id);
  if (merge == nullptr) return false;
  workspace.heap_.push_back({merge->rank, position, merge->left, merge->right, merge->result});
  return true;
}

std::vector<Merge> merges_of_ranked_pieces(const std::vector<std::string>& pieces) {
  std::unordered_map<std::string_view, int> ids;
  ids.reserve(pieces.size());
  for (std::size_t id = 0; id < pieces.size(); ++id) ids[pieces[id]] = static_cast<int>(id);
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    for (std::size_t cut = 1; cut < piece.size(); ++cut) {
      const auto left = ids.find(piece.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(piece.substr(cut));
      if (right == ids.end()) continue;
      const int rank = static_cast<int>(id);
      merges.push_back({left->second, right->second, rank, rank});
    }
  }
  return merges;
}

}  // namespace sinkrouter::text
