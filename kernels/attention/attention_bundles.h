// How a step's attention on the CPU is cut: what a thread works through at once is a bundle, and
// bundles have numbers. A bundle is one tile of rows of one kv head or, of a sequence with one row
// and few query heads to a kv head, the tiles of all kv heads, or of as many as leave something for
// every thread: a block's heads lie side by side, so that memory is read in long runs.
// Bundles are counted without being stored. Owns nothing; a bundle's scratch is its thread's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_tile.h"

namespace octet::kernels {

inline constexpr int64_t kPartsPerThread = 8;  // splits in flight when splits are handed out

// What one thread owns of the workspace, in floats.
struct ScratchPlan {
  int64_t vectors = 0;      // of a bundle, rounded up to whole lanes
  int64_t tiles = 0;        // of a bundle
  int64_t padded_dim = 0;   // for any format
  int64_t int4_groups = 0;  // of a vector: room for any format

  // `heads` of this rank.
  static ScratchPlan Of(int64_t heads, int64_t head_dim);

  int64_t q() const { return vectors * padded_dim; }
  int64_t scores() const { return kTileVectors * kKvBlockTokens; }
  int64_t wide() const { return kKvBlockTokens * padded_dim; }
  int64_t scales() const { return 4 * kKvBlockTokens; }
  int64_t groups() const { return 2 * kKvBlockTokens * int4_groups; }
  // int8: codes of queries, and these as bytes, for whole units of the tile unit.
  int64_t q_codes() const { return vectors * padded_dim / 2; }
  int64_t q_bytes() const { return (vectors + tiles * (kUnitVectors - 1)) * padded_dim / 2; }
  int64_t weights() const { return kTileVectors * kKvBlockTokens / 2; }
  int64_t states() const { return vectors * (kStateHead + padded_dim); }
  int64_t floats() const {
    return q() + 2 * vectors + 2 * scores() + wide() + scales() + groups() + q_codes() + q_bytes() +
           2 * kTileVectors + weights() + kPartsPerThread * states();
  }
};

class BundlePlan {
 public:
  explicit BundlePlan(const AttentionArgs& args);

  int64_t count() const { return count_; }

  // Cuts bundles of several kv heads into so many, or one for each head.
  void Divide(int64_t parts);

  // Where a thread is in the walk over sequences and, inside, groups: bundles that it asks for in
  // turn are found from where the last one was.
  struct Place {
    int64_t first = 0;  // bundle of (sequence, group)
    int64_t sequence = 0;
    int64_t group = 0;
  };

  // Bundle `index` with the scratch of `thread`.
  void Make(int64_t index, int thread, Place& place, TileBundle* bundle) const;
  // Its first tile, without scratch.
  AttentionTile First(int64_t index, Place& place) const;

  // States of a bundle: eight parts a thread; the part after the last thread's holds merged ones.
  float* States(int64_t part) const;

 private:
  bool Together(const AttentionSequence& sequence) const {
    return few_vectors_ && sequence.row_count == 1;
  }
  int64_t BundlesAt(const Place& place) const;
  void Count();
  void Find(int64_t index, Place& place) const;
  AttentionTile MakeTile(const AttentionSequence& sequence, const HeadGroup& group,
                         int64_t index) const;
  void PlaceScratch(int thread, int64_t eights_before, AttentionTile* tile) const;
  float* Scratch(int thread) const;

  const AttentionArgs& args_;
  ScratchPlan scratch_;
  int64_t row_tiles_ = 0;  // of a sequence with one row
  int64_t tiles_together_ = kBundleTiles;
  bool few_vectors_ = true;
  int64_t count_ = 0;
};

}  // namespace octet::kernels
