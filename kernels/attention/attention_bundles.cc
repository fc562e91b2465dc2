#include "kernels/attention/attention_bundles.h"

#include <algorithm>
#include <type_traits>

#include "base/check.h"

namespace octet::kernels {
namespace {

int64_t HeadsPerTile(const HeadGroup& group) {
  return std::min<int64_t>(group.head_count, kTileVectors);
}
int64_t RowsPerTile(const HeadGroup& group) { return kTileVectors / HeadsPerTile(group); }
int64_t RowTiles(const AttentionSequence& sequence, const HeadGroup& group) {
  return (sequence.row_count + RowsPerTile(group) - 1) / RowsPerTile(group);
}
int64_t TilesOf(const AttentionSequence& sequence, const HeadGroup& group) {
  const int64_t parts = (group.head_count + HeadsPerTile(group) - 1) / HeadsPerTile(group);
  return parts * RowTiles(sequence, group);
}

}  // namespace

ScratchPlan ScratchPlan::Of(int64_t heads, int64_t head_dim) {
  return {AlignUp(std::max(heads, kTileVectors), kLanes), std::min(heads, kBundleTiles),
          AlignUp(head_dim, kInt8DimMultiple), (head_dim + kKvInt4Group - 1) / kKvInt4Group};
}

BundlePlan::BundlePlan(const AttentionArgs& args) : args_(args) {
  int64_t heads = 0;
  for (const HeadGroup& group : args.groups) {
    heads += group.head_count;
    row_tiles_ += TilesOf({.row_count = 1}, group);
    few_vectors_ = few_vectors_ && group.head_count <= kFewVectors;
  }
  scratch_ = ScratchPlan::Of(heads, args.layout.head_dim);
  Count();
}

void BundlePlan::Divide(int64_t parts) {
  const int64_t tiles = std::min(row_tiles_, kBundleTiles);
  tiles_together_ = std::max<int64_t>(1, (tiles + parts - 1) / parts);
  Count();
}

void BundlePlan::Count() {
  count_ = 0;
  Place place;
  for (; place.sequence < std::ssize(args_.sequences); ++place.sequence) {
    for (place.group = 0; place.group < std::ssize(args_.groups); ++place.group) {
      count_ += BundlesAt(place);
    }
  }
}

int64_t BundlePlan::BundlesAt(const Place& place) const {
  const AttentionSequence& sequence = args_.sequences[place.sequence];
  if (!Together(sequence)) return TilesOf(sequence, args_.groups[place.group]);
  return place.group == 0 ? (row_tiles_ + tiles_together_ - 1) / tiles_together_ : 0;
}

void BundlePlan::Find(int64_t index, Place& place) const {
  OCTET_CHECK_LT(index, count_);
  const auto groups = static_cast<int64_t>(args_.groups.size());
  for (; index < place.first; place.first -= BundlesAt(place)) {
    place.sequence -= place.group == 0;
    place.group = (place.group + groups - 1) % groups;
  }
  for (int64_t here = BundlesAt(place); index >= place.first + here; here = BundlesAt(place)) {
    place.first += here;
    place.group = (place.group + 1) % groups;
    place.sequence += place.group == 0;
  }
}

AttentionTile BundlePlan::First(int64_t index, Place& place) const {
  Find(index, place);
  const AttentionSequence& sequence = args_.sequences[place.sequence];
  // Of tiles taken together only the positions matter, which they share.
  return MakeTile(sequence, args_.groups[place.group],
                  Together(sequence) ? 0 : index - place.first);
}

void BundlePlan::Make(int64_t index, int thread, Place& place, TileBundle* bundle) const {
  Find(index, place);
  const AttentionSequence& sequence = args_.sequences[place.sequence];
  bundle->count = 0;
  int64_t vectors = 0;
  int64_t eights = 0;
  const auto add = [&](const HeadGroup& group, int64_t tile_index) {
    AttentionTile& tile = bundle->tiles[bundle->count++];
    tile = MakeTile(sequence, group, tile_index);
    tile.first_vector = vectors;
    PlaceScratch(thread, eights, &tile);
    vectors += tile.vectors();
    eights += (tile.vectors() + kUnitVectors - 1) / kUnitVectors;
  };
  if (!Together(sequence)) {
    add(args_.groups[place.group], index - place.first);
    return;
  }
  const int64_t begin = (index - place.first) * tiles_together_;
  int64_t before = 0;  // tiles of groups before
  for (const HeadGroup& group : args_.groups) {
    const int64_t tiles = TilesOf(sequence, group);
    for (int64_t i = 0; i < tiles; ++i, ++before) {
      if (before >= begin && before < begin + tiles_together_) add(group, i);
    }
  }
}

AttentionTile BundlePlan::MakeTile(const AttentionSequence& sequence, const HeadGroup& group,
                                   int64_t index) const {
  const int64_t row_tiles = RowTiles(sequence, group);
  const int64_t row = index % row_tiles * RowsPerTile(group);
  const int64_t head = index / row_tiles * HeadsPerTile(group);
  const KvLayout& layout = args_.layout;
  AttentionTile tile;
  tile.format = layout.format;
  tile.cache = args_.cache;
  tile.block_table = sequence.block_table;
  tile.block_bytes = layout.block_bytes();
  tile.head_bytes = layout.head_bytes();
  tile.k_data = layout.k_data(group.kv_head);
  tile.v_data = layout.v_data(group.kv_head);
  tile.k_scale = layout.k_scale(group.kv_head);
  tile.v_scale = layout.v_scale(group.kv_head);
  tile.head_dim = layout.head_dim;
  tile.padded_dim =
      layout.format == KvFormat::kInt8 ? scratch_.padded_dim : AlignUp(layout.head_dim, 16);
  tile.rows = std::min(RowsPerTile(group), sequence.row_count - row);
  tile.heads = std::min(HeadsPerTile(group), group.head_count - head);
  tile.first_position = sequence.first_position + row;
  tile.window = args_.window;
  tile.scale = args_.scale;
  const int64_t column = (group.head_begin + head) * layout.head_dim;
  tile.source = args_.q + (sequence.row_begin + row) * args_.q_stride + column;
  tile.source_stride = args_.q_stride;
  tile.out = args_.out + (sequence.row_begin + row) * args_.out_stride + column;
  tile.out_stride = args_.out_stride;
  return tile;
}

// What holds queries is the tile's own; the rest is used block by block and so by all tiles of a
// bundle. `eights_before`: of vectors, of the tiles before it.
void BundlePlan::PlaceScratch(int thread, int64_t eights_before, AttentionTile* tile) const {
  float* next = Scratch(thread);
  const auto take = [&](auto*& part, int64_t floats, int64_t elements_before = 0) {
    part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(next) + elements_before;
    next += floats;
  };
  const int64_t before = tile->first_vector;
  take(tile->q, scratch_.q(), before * tile->padded_dim);
  take(tile->q_codes, scratch_.q_codes(), before * tile->padded_dim);
  take(tile->q_bytes, scratch_.q_bytes(), eights_before * kUnitVectors * 2 * tile->padded_dim);
  take(tile->wide, scratch_.wide());
  take(tile->scores, scratch_.scores());
  take(tile->dots, scratch_.scores());
  take(tile->weights, scratch_.weights());
  take(tile->scales, scratch_.scales());
  take(tile->groups, scratch_.groups());
  take(tile->factors, kTileVectors);
  take(tile->weight_step, kTileVectors);
  take(tile->q_sum, scratch_.vectors, before);
  take(tile->q_step, scratch_.vectors, before);
}

float* BundlePlan::Scratch(int thread) const {
  return reinterpret_cast<float*>(args_.workspace) + thread * scratch_.floats();
}

float* BundlePlan::States(int64_t part) const {
  const int64_t before = scratch_.floats() - kPartsPerThread * scratch_.states();
  return Scratch(static_cast<int>(part / kPartsPerThread)) + before +
         part % kPartsPerThread * scratch_.states();
}

}  // namespace octet::kernels
