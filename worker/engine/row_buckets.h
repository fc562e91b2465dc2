// The row counts that decode steps are captured for. A step with fewer rows runs the next larger
// bucket, its last rows padded.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::worker {

// Ascending from 1 to `rows_max` inclusive: close where a row costs a share of a step worth having,
// then every 32, 64, 128 and 256, so that a padded step computes at most a third more rows from 16
// rows on.
std::vector<int64_t> RowBuckets(int64_t rows_max);

// The index of the smallest bucket that holds `rows`. REQUIRES: 1 <= rows <= buckets.back().
int64_t BucketOf(const std::vector<int64_t>& buckets, int64_t rows);

}  // namespace octet::worker
