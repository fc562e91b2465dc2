// Every loop that read bandwidth is measured with reads every byte once, whatever its order: the
// sums of words are those of the portable loop.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/buffer.h"
#include "kernels/isa.h"
#include "kernels/roofline/probes.h"

namespace octet::kernels {
namespace {

constexpr ReadOrder kOrders[] = {{1, 0}, {1, 1024}, {2, 0}, {2, 1024}};

#if defined(__x86_64__)
TEST(ReadProbe, ReadsEveryByteOnce) {
  constexpr int64_t kBytes = 7 * 1024;
  const Buffer buffer(kBytes);
  std::mt19937_64 random(3);
  for (int64_t at = 0; at < kBytes; at += 8) {
    const uint64_t word = random();
    std::memcpy(buffer.data() + at, &word, 8);
  }
  for (const int64_t bytes : {kBytes, int64_t{1024}}) {
    const uint64_t wanted = ReadPlain(buffer.data(), bytes, {1, 0});
    for (const ReadOrder order : kOrders) {
      if (IsaAvailable(Isa::kAvx2)) {
        EXPECT_EQ(ReadAvx2(buffer.data(), bytes, order), wanted);
      }
      if (IsaAvailable(Isa::kAvx512Vnni)) {
        EXPECT_EQ(ReadAvx512(buffer.data(), bytes, order), wanted);
      }
    }
  }
}
#endif

}  // namespace
}  // namespace octet::kernels
