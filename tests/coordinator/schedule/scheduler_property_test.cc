// What must hold on all schedules, on many random ones. A failing seed is printed; alone it runs
// with OCTET_SCHEDULE_SEED=<seed> in the environment.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "tests/coordinator/schedule/random_schedule.h"

namespace octet::schedule {
namespace {

constexpr uint64_t kSchedules = 10000;
constexpr uint64_t kReplayedSchedules = 500;

TEST(SchedulerProperty, RandomSchedulesKeepTheirPromises) {
  Coverage coverage;
  uint64_t first = 0;
  uint64_t end = kSchedules;
  if (const char* alone = std::getenv("OCTET_SCHEDULE_SEED"); alone != nullptr) {
    first = std::strtoull(alone, nullptr, 10);
    end = first + 1;
  }
  for (uint64_t seed = first; seed < end; ++seed) {
    SCOPED_TRACE("OCTET_SCHEDULE_SEED=" + std::to_string(seed));
    RandomSchedule(seed, &coverage).Run();
    if (HasFailure()) return;
  }
  if (end == first + 1) return;
  for (const auto& [name, count] :
       {std::pair{"tokens", coverage.tokens},
        {"stopped", coverage.stopped},
        {"ended by length", coverage.ended_by_length},
        {"failed", coverage.failed},
        {"cancelled", coverage.cancelled},
        {"refused", coverage.refused},
        {"chunks without a sample", coverage.chunked},
        {"group losses", coverage.losses},
        {"group losses with plans in flight", coverage.losses_in_flight},
        {"preemptions", coverage.preemptions},
        {"rows discarded", coverage.discarded},
        {"rows recomputed", coverage.recomputed},
        {"ids used again", coverage.ids_again},
        {"plans put off until a commit", coverage.waited_for_plan},
        {"full steps", coverage.full_steps},
        {"cached tokens", coverage.cached_tokens},
        {"hits with a plan in flight", coverage.shared_in_flight},
        {"prompt positions told", coverage.prompt_told},
        {"resumed while telling", coverage.told_after_resume},
        {"overtaken by priority", coverage.overtaken},
        {"plans that evicted", coverage.evicted}}) {
    EXPECT_GE(count, 200) << name;
    std::printf("%-36s %lld\n", name, static_cast<long long>(count));
  }
}

TEST(SchedulerProperty, TheSameCallsGiveTheSamePlans) {
  Coverage coverage;
  for (uint64_t seed = 0; seed < kReplayedSchedules; ++seed) {
    RandomSchedule first(seed, &coverage);
    RandomSchedule second(seed, &coverage);
    first.Run();
    second.Run();
    ASSERT_EQ(first.digest(), second.digest()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace octet::schedule
