#include "worker/engine/row_buckets.h"

#include <algorithm>

#include "base/check.h"

namespace octet::worker {
namespace {

// The distance from a bucket to the next.
int64_t StepAfter(int64_t rows) {
  if (rows < 8) return rows;
  if (rows < 32) return 8;
  if (rows < 64) return 16;
  if (rows < 256) return 32;
  if (rows < 512) return 64;
  return rows < 1024 ? 128 : 256;
}

}  // namespace

std::vector<int64_t> RowBuckets(int64_t rows_max) {
  OCTET_CHECK_GE(rows_max, 1);
  std::vector<int64_t> buckets;
  for (int64_t rows = 1; rows < rows_max; rows += StepAfter(rows)) buckets.push_back(rows);
  buckets.push_back(rows_max);
  return buckets;
}

int64_t BucketOf(const std::vector<int64_t>& buckets, int64_t rows) {
  OCTET_CHECK(!buckets.empty() && rows >= 1 && rows <= buckets.back());
  return std::lower_bound(buckets.begin(), buckets.end(), rows) - buckets.begin();
}

}  // namespace octet::worker
