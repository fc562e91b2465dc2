// What the exchange brought of one row, whole: the ranks' parts side by side. Elements are visited
// by all threads of a block, each its share.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/adjusted_logit.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/choose_rows.h"

namespace octet::kernels::cuda {

class GatheredRow {
 public:
  // `part_begins` [ranks] in shared memory.
  OCTET_DEVICE GatheredRow(const ChooseRowsArgs& args, const SamplingRow& row,
                           const int64_t* part_begins)
      : args_(args), row_(row), part_begins_(part_begins) {}

  // Writes part_begins; a barrier must follow.
  static OCTET_DEVICE void FindParts(const ChooseRowsArgs& args, int64_t* part_begins) {
    if (static_cast<int>(threadIdx.x) >= args.cut.ranks) return;
    int64_t begin = 0;
    for (int32_t rank = 0; rank < static_cast<int32_t>(threadIdx.x); ++rank) {
      begin += Of(args, rank).bytes();
    }
    part_begins[threadIdx.x] = begin;
  }

  OCTET_DEVICE const VocabCut& cut() const { return args_.cut; }
  OCTET_DEVICE const SamplingRow& row() const { return row_; }

  OCTET_DEVICE const float* Logits(int32_t rank) const {
    return At<float>(rank, Of(args_, rank).LogitsAt(row_.before));
  }
  OCTET_DEVICE const Candidate* Candidates(int32_t rank) const {
    return At<Candidate>(rank, Of(args_, rank).CandidatesAt(row_.before));
  }
  OCTET_DEVICE const TileSum* Tiles(int32_t rank) const {
    return At<TileSum>(rank, Of(args_, rank).TilesAt(row_.before));
  }
  OCTET_DEVICE const Candidate* Best(int32_t rank) const {
    return At<Candidate>(rank, Of(args_, rank).BestAt(row_.before, row_.share));
  }
  OCTET_DEVICE const float* RawLogits(int32_t rank) const {
    return At<float>(rank, Of(args_, rank).RawLogitsAt(row_.before, row_.share));
  }

  OCTET_DEVICE int64_t TilesOf(int32_t rank) const {
    return TileCount(args_.cut.bounds[rank + 1] - args_.cut.bounds[rank]);
  }
  OCTET_DEVICE int32_t RankOf(int32_t token) const {
    int32_t rank = 0;
    while (token >= args_.cut.bounds[rank + 1]) ++rank;
    return rank;
  }

 private:
  static OCTET_DEVICE ExchangePart Of(const ChooseRowsArgs& args, int32_t rank) {
    return {args.step->totals, args.cut.bounds[rank + 1] - args.cut.bounds[rank]};
  }
  template <typename T>
  OCTET_DEVICE const T* At(int32_t rank, int64_t offset) const {
    return reinterpret_cast<const T*>(args_.gather + part_begins_[rank] + offset);
  }

  const ChooseRowsArgs& args_;
  const SamplingRow& row_;
  const int64_t* part_begins_;
};

// The candidates of all ranks as elements, by their logits.
struct CandidateSource {
  const GatheredRow* gathered;

  template <typename Visit>
  OCTET_DEVICE void Each(const Visit& visit) const {
    for (int32_t rank = 0; rank < gathered->cut().ranks; ++rank) {
      const Candidate* candidates = gathered->Candidates(rank);
      for (int32_t i = static_cast<int32_t>(threadIdx.x); i < gathered->row().share.candidates;
           i += static_cast<int32_t>(blockDim.x)) {
        if (candidates[i].token >= 0) visit(candidates[i].logit, candidates[i].token);
      }
    }
  }
};

// The adjusted logits of the whole row as elements.
struct RowSource {
  const GatheredRow* gathered;
  const RowAdjuster* adjust;

  template <typename Visit>
  OCTET_DEVICE void Each(const Visit& visit) const {
    for (int32_t rank = 0; rank < gathered->cut().ranks; ++rank) {
      const float* logits = gathered->Logits(rank);
      const int32_t begin = gathered->cut().bounds[rank];
      const int32_t end = gathered->cut().bounds[rank + 1];
      for (int32_t token = begin + static_cast<int32_t>(threadIdx.x); token < end;
           token += static_cast<int32_t>(blockDim.x)) {
        const float logit = (*adjust)(logits[token - begin], token);
        if (logit > kNoLogit) visit(logit, token);
      }
    }
  }
};

}  // namespace octet::kernels::cuda
