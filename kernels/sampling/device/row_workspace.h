// What the two kernels of OfferRows hand each other: of every row the best logit of each run or a
// bound of its scores, and the maxima of its spans. Rows lie one after the other, so a place is
// arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/sampling/device/offer_rows.h"

namespace octet::kernels {

inline constexpr int64_t kSpanOfMaximum = 64;  // tokens

struct RowWorkspace {
  std::byte* bytes = nullptr;
  int64_t runs = 0;
  int64_t spans = 0;

  constexpr RowWorkspace(std::byte* workspace, int64_t held)
      : bytes(workspace),
        runs((held + kRunTokens - 1) / kRunTokens),
        spans((held + kSpanOfMaximum - 1) / kSpanOfMaximum) {}
  static constexpr int64_t Bytes(int64_t rows, int64_t held) {
    return rows * RowWorkspace(nullptr, held).row_bytes();
  }

  // [runs] keys of candidates (candidate_key.cuh) or RunBound (best_score.cuh).
  constexpr int64_t KeysAt(int64_t row) const { return row * row_bytes(); }
  // [spans] of adjusted logits.
  constexpr int64_t AdjustedAt(int64_t row) const { return KeysAt(row) + runs * 8; }
  // [spans] of raw logits.
  constexpr int64_t RawAt(int64_t row) const { return AdjustedAt(row) + span_bytes(); }

 private:
  constexpr int64_t span_bytes() const { return (spans + 1) / 2 * 8; }
  constexpr int64_t row_bytes() const { return runs * 8 + 2 * span_bytes(); }
};

}  // namespace octet::kernels
