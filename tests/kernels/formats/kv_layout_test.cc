#include "kernels/formats/kv_layout.h"

#include <gtest/gtest.h>

namespace octet::kernels {
namespace {

TEST(KvLayoutTest, PartsLieOneAfterAnotherOnSixtyFourBytes) {
  for (KvFormat format : {KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4}) {
    for (int64_t dim : {6, 40, 64, 80, 128}) {
      if (!KvFormatHolds(format, dim)) continue;
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
  // int4: half the codes, four groups a vector; a last group of 16 has a pair of its own.
  EXPECT_EQ((KvLayout{KvFormat::kInt4, 1, 128}).block_bytes(), 8192 + 4 * 512);
  EXPECT_EQ((KvLayout{KvFormat::kInt4, 1, 80}).scale_bytes(), 64 * 3 * 4);
}

TEST(KvLayoutTest, Int4CodesLieAsDocumented) {
  float values[48];
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(i / 2) - 4.0f;  // steps of 1
  for (int i = 32; i < 48; ++i) values[i] = static_cast<float>(i - 32) * 0.5f;
  uint8_t codes[24];
  uint16_t pairs[4];
  QuantizeKvVectorInt4(values, 48, codes, pairs);
  EXPECT_EQ(pairs[0], 0x3c00);  // 1 in f16
  EXPECT_EQ(pairs[1], 0xc400);  // -4
  EXPECT_EQ(pairs[2], 0x3800);  // 0.5
  EXPECT_EQ(pairs[3], 0);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(codes[i], i << 4 | i);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(codes[16 + i], (2 * i + 1) << 4 | 2 * i);
  float back[48];
  DequantizeKvVectorInt4(codes, pairs, 48, back);
  for (int i = 0; i < 48; ++i) EXPECT_EQ(back[i], values[i]);
}

}  // namespace
}  // namespace octet::kernels
