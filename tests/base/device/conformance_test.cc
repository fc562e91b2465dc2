// What each primitive must do by the PTX ISA and the CUDA programming guide, worked out again here
// in plain loops. All values are small integers, exact in every format.
#include "tests/base/device/conformance.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "tests/support/test_device.h"

namespace octet::conformance {
namespace {

class ConformanceTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  Stream& stream() { return test::TestGpu()->stream(); }

  // Runs `kernel` with `count` words of output, which start as `initial`.
  template <typename Kernel>
  std::vector<uint32_t> Run(size_t count, uint32_t initial, const Kernel& kernel) {
    const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(count, initial), stream());
    kernel(out.as<uint32_t>());
    return test::ToHost<uint32_t>(out, stream());
  }
};

TEST_F(ConformanceTest, Coordinates) {
  const auto out = Run(6 * 16 * 6, 0, [&](uint32_t* o) { Coordinates(o, stream()); });
  for (uint32_t block = 0; block < 6; ++block) {
    for (uint32_t thread = 0; thread < 16; ++thread) {
      const uint32_t* mine = &out[(block * 16 + thread) * 6];
      const std::vector<uint32_t> expected = {thread % 4, thread / 4 % 2, thread / 8,
                                              block % 2,  block / 2,      231};
      EXPECT_EQ(std::vector<uint32_t>(mine, mine + 6), expected);
    }
  }
}

TEST_F(ConformanceTest, Shuffles) {
  const auto out = Run(256, 9, [&](uint32_t* o) { Shuffles(o, stream()); });
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], 105u);
    EXPECT_EQ(out[32 + lane], 100 + lane / 8 * 8 + 3);
    EXPECT_EQ(out[64 + lane], 100 + (lane < 3 ? lane : lane - 3));
    EXPECT_EQ(out[96 + lane], 100 + (lane % 16 + 5 < 16 ? lane + 5 : lane));
    EXPECT_EQ(out[128 + lane], 100 + (lane ^ 9));
    EXPECT_EQ(std::bit_cast<float>(out[160 + lane]), 0.5f * static_cast<float>(lane ^ 1));
    EXPECT_EQ(out[192 + lane], lane == 31 ? 31 : lane + 1);
    EXPECT_EQ(out[224 + lane], lane < 16 ? 0 : 100 + (lane ^ 1));
  }
}

TEST_F(ConformanceTest, Votes) {
  const auto out = Run(256, 9, [&](uint32_t* o) { Votes(o, stream()); });
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], 0x49249249u);
    EXPECT_EQ(out[32 + lane], 1u);
    EXPECT_EQ(out[64 + lane], 0u);
    EXPECT_EQ(out[96 + lane], 496u);
    EXPECT_EQ(out[128 + lane], 4u);
    EXPECT_EQ(static_cast<int32_t>(out[160 + lane]), -9);
    EXPECT_EQ(out[192 + lane], lane % 2 == 0 ? 0x55u : 0u);
    const int leading = std::countl_zero(lane);
    const int first = lane == 0 ? 0 : std::countr_zero(lane) + 1;
    EXPECT_EQ(out[224 + lane],
              static_cast<uint32_t>(std::popcount(lane) + 100 * first + 10000 * leading));
  }
  const auto block = Run(128, 9, [&](uint32_t* o) { BlockVotes(o, stream()); });
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(block[i], 13u);
    EXPECT_EQ(block[64 + i], 1u);
  }
}

TEST_F(ConformanceTest, SharedMemoryAndBarriers) {
  std::vector<uint32_t> in(64);
  for (uint32_t i = 0; i < 64; ++i) in[i] = 1000 * i;
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const auto sums =
      Run(64, 0, [&](uint32_t* o) { SharedSums(device_in.as<uint32_t>(), o, stream()); });
  for (uint32_t i = 0; i < 64; ++i)
    EXPECT_EQ(sums[i], in[63 - i] + in[(63 - i) ^ 32] + (63 - i) % 32);

  const auto named = Run(96, 0, [&](uint32_t* o) { NamedBarriers(o, stream()); });
  for (uint32_t i = 0; i < 96; ++i)
    EXPECT_EQ(named[i], i < 64 ? i : 10 * (i % 32) + 10 * (32 + i % 32));
}

TEST_F(ConformanceTest, AtomicsAndBlocksThatWaitForOneAnother) {
  const auto atomics = Run(6, 0, [&](uint32_t* o) { Atomics(o, stream()); });
  EXPECT_EQ(atomics, (std::vector<uint32_t>{2016, 63, 0xFFFFFFFFu, 0, 9, 77}));

  const auto grid = Run(5, 0, [&](uint32_t* o) { GridBarrier(o + 4, o, stream()); });
  EXPECT_EQ(grid, (std::vector<uint32_t>{10, 10, 10, 10, 8}));
  const auto last = Run(6, 0, [&](uint32_t* o) { LastBlock(o + 5, o, stream()); });
  EXPECT_EQ(last, (std::vector<uint32_t>{10, 20, 30, 40, 100, 4}));
}

// A generator of words for tests of bits.
uint32_t Mixed(uint32_t i) { return (i * 2654435761u) ^ (i * 40503u << 7); }

TEST_F(ConformanceTest, BitLogic) {
  std::vector<uint32_t> in(192);
  for (uint32_t i = 0; i < 192; ++i) in[i] = Mixed(i + 1);
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const auto out =
      Run(384, 0, [&](uint32_t* o) { BitLogic(device_in.as<uint32_t>(), o, stream()); });
  for (uint32_t i = 0; i < 64; ++i) {
    const uint32_t a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
    EXPECT_EQ(out[i], (a & b) | c);
    EXPECT_EQ(out[64 + i], (a & b) ^ c);
    uint32_t permuted = 0;
    int32_t signed_sum = static_cast<int32_t>(c), mixed_sum = signed_sum;
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t nibble = c >> (4 * k) & 15u;
      uint32_t byte = ((nibble & 4u) != 0 ? b : a) >> (8 * (nibble & 3u)) & 255u;
      if ((nibble & 8u) != 0) byte = byte >= 128 ? 255 : 0;
      permuted |= byte << (8 * k);
      const auto sb = static_cast<int8_t>(b >> (8 * k));
      signed_sum += static_cast<int8_t>(a >> (8 * k)) * sb;
      mixed_sum += static_cast<uint8_t>(a >> (8 * k)) * sb;
    }
    EXPECT_EQ(out[128 + i], permuted);
    EXPECT_EQ(static_cast<int32_t>(out[192 + i]), signed_sum);
    EXPECT_EQ(static_cast<int32_t>(out[256 + i]), mixed_sum);
    EXPECT_EQ(out[320 + i], static_cast<uint32_t>(uint64_t{a} * b >> 32));
  }
}

TEST_F(ConformanceTest, Conversions) {
  std::vector<float> in(64);
  for (int i = 0; i < 64; ++i) in[i] = static_cast<float>(i - 32) * 5.25f;  // -168 .. 162.75
  in[3] = 1.0f + 0x1p-8f;                                                   // a tie in bf16
  in[4] = 1.0f + 0x1p-11f;                                                  // a tie in f16
  in[5] = 2.5f;       // a tie between integers
  in[6] = 0x1p-140f;  // subnormal
  in[7] = 1e30f;
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const auto out =
      Run(512, 0, [&](uint32_t* o) { Conversions(device_in.as<float>(), o, stream()); });
  const auto clamped = [](float x, float low, float high) {
    return static_cast<int32_t>(std::nearbyint(std::fmin(std::fmax(x, low), high)));
  };
  for (int i = 0; i < 64; ++i) {
    const float x = in[i], y = in[63 - i];
    EXPECT_EQ(out[i], uint32_t{FloatToBF16(y)} << 16 | FloatToBF16(x)) << x;
    EXPECT_EQ(out[64 + i], uint32_t{FloatToF16(y)} << 16 | FloatToF16(x)) << x;
    EXPECT_EQ(static_cast<int32_t>(out[128 + i]), clamped(x, -128, 127)) << x;
    EXPECT_EQ(static_cast<int32_t>(out[192 + i]), clamped(x, 0, 255)) << x;
    EXPECT_EQ(out[256 + i], 0u);
    EXPECT_EQ(out[320 + i], 0u);
    // ex2.approx: 2 ulp by the PTX ISA; subnormal results are flushed.
    const float power = std::bit_cast<float>(out[384 + i]);
    const float expected = std::exp2(x);
    if (expected < 0x1p-126f) {
      EXPECT_EQ(power, 0.0f) << x;
    } else if (std::isinf(expected)) {
      EXPECT_EQ(power, expected) << x;
    } else {
      EXPECT_NEAR(power, expected, 2 * 0x1p-23f * expected) << x;
    }
    if (x < 1e9f) {
      EXPECT_EQ(static_cast<int32_t>(out[448 + i]), std::nearbyint(x)) << x;
    }
  }
  EXPECT_EQ(out[448 + 7], 0x7FFFFFFFu);
}

TEST_F(ConformanceTest, PackedFma) {
  // Small integers: products and sums are exact in both formats.
  std::vector<uint32_t> bf16(192), f16(192);
  for (int i = 0; i < 192; ++i) {
    const float low = static_cast<float>(i % 7 - 3), high = static_cast<float>(i % 5 - 2);
    bf16[i] = uint32_t{FloatToBF16(high)} << 16 | FloatToBF16(low);
    f16[i] = uint32_t{FloatToF16(high)} << 16 | FloatToF16(low);
  }
  // Subnormal numbers: 15 and 240 times 2^-133, by 2^127 and 2^123, less 2^-3.
  bf16[3] = 0x00F0000F;
  bf16[4] = 0x7D007F00;
  bf16[5] = 0xBE00BE00;
  // One where two roundings differ from one: 257 * 257 + 2^-20, whose exact value lies above a tie.
  bf16[0] = FloatToBF16(129.0f);
  bf16[1] = FloatToBF16(129.0f);
  bf16[2] = FloatToBF16(0x1p-20f);
  const DeviceBuffer device_bf16 = test::ToDevice(bf16, stream());
  const DeviceBuffer device_f16 = test::ToDevice(f16, stream());
  const auto a =
      Run(192, 0, [&](uint32_t* o) { PackedFma(device_bf16.as<uint32_t>(), o, stream()); });
  const auto b =
      Run(192, 0, [&](uint32_t* o) { PackedFma(device_f16.as<uint32_t>(), o, stream()); });
  const auto half = [](uint32_t word, int i) { return static_cast<uint16_t>(word >> (16 * i)); };
  for (int i = 1; i < 64; ++i) {
    for (int k = 0; k < 2; ++k) {
      EXPECT_EQ(BF16ToFloat(half(a[i], k)),
                BF16ToFloat(half(bf16[3 * i], k)) * BF16ToFloat(half(bf16[3 * i + 1], k)) +
                    BF16ToFloat(half(bf16[3 * i + 2], k)));
      EXPECT_EQ(F16ToFloat(half(b[64 + i], k)),
                F16ToFloat(half(f16[3 * i], k)) * F16ToFloat(half(f16[3 * i + 1], k)) +
                    F16ToFloat(half(f16[3 * i + 2], k)));
      EXPECT_EQ(F16ToFloat(half(b[128 + i], k)),
                F16ToFloat(half(f16[3 * i], k)) - F16ToFloat(half(f16[3 * i + 1], k)));
    }
  }
  // 129 * 129 = 16641 = 130.0078125 * 128: bf16 keeps 8 bits, so 16640 (130 * 128) is nearest.
  EXPECT_EQ(BF16ToFloat(half(a[0], 0)), 16640.0f);
}

TEST_F(ConformanceTest, WideAccesses) {
  std::vector<uint32_t> in(256);
  for (uint32_t i = 0; i < 256; ++i) in[i] = 3 * i + 7;
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const auto out =
      Run(704, 0, [&](uint32_t* o) { WideAccesses(device_in.as<uint32_t>(), o, stream()); });
  for (int i = 0; i < 64; ++i) {
    for (int k = 0; k < 4; ++k) EXPECT_EQ(out[4 * i + k], in[4 * i + 3 - k]);
    EXPECT_EQ(out[256 + 2 * i], in[4 * i + 2]);
    EXPECT_EQ(out[256 + 2 * i + 1], in[4 * i]);
    for (uint32_t k = 0; k < 4; ++k) {
      EXPECT_EQ(out[384 + 4 * i + k], i % 2 == 0 ? in[4 * i + k] : k + 1);
    }
    EXPECT_EQ(out[640 + i], i % 2 == 1 ? in[4 * i + 1] : 5);
  }
}

}  // namespace
}  // namespace octet::conformance
