#include "kernels/formats/kv_layout.h"

#include <gtest/gtest.h>

namespace octet::kernels {
namespace {

TEST(KvLayoutTest, PartsLieOneAfterAnotherOnSixtyFourBytes) {
  for (KvFormat format : {KvFormat::kInt8, KvFormat::kBF16}) {
    for (int64_t dim : {6, 40, 64, 128}) {
      const KvLayout layout{format, 3, dim};
      int64_t end = 0;
      for (int64_t head = 0; head < 3; ++head) {
        EXPECT_EQ(layout.k_data(head), end);
        EXPECT_EQ(layout.v_data(head), end + layout.data_bytes());
        EXPECT_EQ(layout.k_scale(head), layout.v_data(head) + layout.data_bytes());
        EXPECT_EQ(layout.v_scale(head), layout.k_scale(head) + layout.scale_bytes());
        end = layout.v_scale(head) + layout.scale_bytes();
      }
      EXPECT_EQ(end, layout.block_bytes());
      EXPECT_EQ(layout.data_bytes() % 64, 0);
      EXPECT_EQ(layout.scale_bytes() % 64, 0);
    }
  }
  // The figure of the memory plan: 64 tokens of one head of 128 take 2 * 128 * 64 codes and
  // 4 * 64 f16.
  EXPECT_EQ((KvLayout{KvFormat::kInt8, 1, 128}).block_bytes(), 16384 + 512);
}

}  // namespace
}  // namespace octet::kernels
