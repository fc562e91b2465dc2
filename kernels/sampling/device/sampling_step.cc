#include "kernels/sampling/device/sampling_step.h"

#include "base/check.h"

namespace octet::kernels {

void CheckCut(const VocabCut& cut, int64_t vocab) {
  OCTET_CHECK(cut.ranks >= 1 && cut.ranks <= kCutRanksMax);
  OCTET_CHECK(cut.rank >= 0 && cut.rank < cut.ranks);
  OCTET_CHECK_EQ(cut.bounds[0], 0);
  OCTET_CHECK_EQ(cut.vocab(), vocab);
  OCTET_CHECK_LE(vocab, kSampledVocabMax);
  for (int32_t rank = 0; rank < cut.ranks; ++rank) {
    OCTET_CHECK_LE(cut.bounds[rank], cut.bounds[rank + 1]);
    OCTET_CHECK(cut.bounds[rank] % kSamplingTile == 0 || cut.bounds[rank] == vocab);
  }
}

}  // namespace octet::kernels
