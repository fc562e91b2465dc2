// Which candidates may have the least error, for families that fuse products and sums: estimates
// take two thirds of the operations of the errors that they stand for. How far one can lie from its
// error, of at most kEstimated values whose error is at least kLeastEstimated:
// - a code may differ where v / scale lies within 2^-19 of a tie, where either code's error is half
//   a scale; squared, they differ by less than 2^-15;
// - differences round once in either form, as code times scale is exact; squares and their sums,
//   none of them negative, by 2^-24 an addition in either form, of which a lane has at most 512;
// - squares too small for a float are lost, less than 2^-126 each.
// Together less than 2^-13 of the error, for the least candidate and for the one compared with it.
#pragma once

#include <cstdint>

namespace octet::kernels {
namespace {

constexpr int64_t kEstimated = 4096;
constexpr float kLeastEstimated = 0x1p-80f;
constexpr float kMargin = 1.0f + 0x1p-12f;

}  // namespace
}  // namespace octet::kernels
