// Few texts at once, a bounded number of those that wait.
#include "coordinator/transport/text_turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace octet::transport {
namespace {

TEST(TextTurns, FewWorkSomeWaitTheRestAreRefused) {
  TextTurns turns;
  std::latch go_on(1);
  std::atomic<int> working{0}, most{0}, refused{0}, done{0};
  std::vector<std::jthread> callers;
  constexpr int kCallers = TextTurns::kMax + 10;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      const Status status = turns.Do([&]() -> Status {
        const int now = ++working;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
        go_on.wait();
        --working;
        ++done;
        return InvalidArgument("what the work says");
      });
      if (status.code() == StatusCode::kInvalidArgument) return;
      EXPECT_EQ(status.message(), "96 texts are being tokenized or detokenized; try again later");
      EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
      if (++refused == kCallers - TextTurns::kMax) go_on.count_down();
    });
  }
  callers.clear();
  EXPECT_EQ(most, TextTurns::kAtOnceMax);
  EXPECT_EQ(done, TextTurns::kMax);
  EXPECT_TRUE(turns.Do([] { return Status(); }).ok());
}

// A place is given back whatever happens.
TEST(TextTurns, WorkMayThrow) {
  TextTurns turns;
  for (int i = 0; i < 2 * TextTurns::kMax; ++i) {
    EXPECT_THROW((void)turns.Do([]() -> Status { throw std::bad_alloc(); }), std::bad_alloc);
  }
}

}  // namespace
}  // namespace octet::transport
