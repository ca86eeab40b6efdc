#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sinkrouter::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

// Piece to id.
using PieceIds = std::unordered_map<std::string, int, StringHash, std::equal_to<>>;

struct Merge {
  int left = 0;
  int right = 0;
  int result = 0;
  int rank = 0;  // the lowest merges first
};

struct BpeOptions {
  std::optional<int> unk_id = std::nullopt;
  bool fuse_unk = false;       // one unk for a run of unknown characters
  bool byte_fallback = false;  // unknown characters become "<0xHH>" pieces
  bool ignore_merges = false;  // a word that is a piece is that piece
};

// Byte-pair encoding of a word's characters, in O(n log n).
class BpeModel {
 public:
  // Of several merges of the same pair the last counts.
  BpeModel(PieceIds vocabulary, const std::vector<Merge>& merges, const BpeOptions& options);

  // What encode() works in; words may share it, threads may not.
  class Workspace {
   private:
    friend class BpeModel;

    struct Symbol {
      int id;  // kMerged: part of the symbol before it
      std::int32_t previous;
      std::int32_t next;
    };
    struct Candidate {
      int rank;
      std::int32_t position;
      int left;
      int right;
      int result;
    };
    static bool is_worse(const Candidate& a, const Candidate& b);

    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
  };

  // Appends the ids of `word` (valid UTF-8). Throws Error on a character without a piece when
  // there is no unk piece.
  void encode(std::string_view word, Workspace& workspace, std::vector<int>& out) const;

  std::optional<int> find(std::string_view piece) const;

 private:
  void split(std::string_view word, Workspace& workspace) const;
  std::optional<int> character_id(std::string_view word, std::size_t at, int length) const;
  bool append_bytes(std::string_view character, Workspace& workspace) const;
  const Merge* find_merge(int left, int right) const;
  bool propose(std::int32_t position, Workspace& workspace) const;

  PieceIds vocabulary_;
  std::vector<Merge> merges_;        // a hash table of pairs with linear probing; result < 0: empty
  std::vector<int> low_characters_;  // ids of the first characters; -1: no piece
  std::array<int, 256> byte_ids_{};  // of "<0x00>".."<0xFF>"; -1: no piece
  BpeOptions options_;
};

// The merges of a vocabulary that ranks pieces (the index is id and rank) and lists no merges: two
// pieces merge when a piece is their concatenation. Strings of bytes, at most 256 each.
std::vector<Merge> merges_of_ranked_pieces(const std::vector<std::string>& pieces);

}  // namespace sinkrouter::text
