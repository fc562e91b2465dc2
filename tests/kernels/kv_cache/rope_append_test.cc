#include "kernels/kv_cache/rope_append.h"

#include <gtest/gtest.h>

#include "tests/kernels/kv_cache/rope_append_cases.h"

namespace octet::kernels::test {
namespace {

TEST(RopeAppendTest, IsRopeThenAppend) {
  ThreadPool pool(2);
  Stream stream(&pool);
  for (const RopeAppendCase& test : RopeAppendCases()) {
    const RopeAppendInputs inputs(test);
    RopeAppendState state(inputs);
    RopeAppendKv(state.Args(), stream);
    EXPECT_TRUE(state == RopeThenAppend(inputs)) << test.Name();
  }
}

}  // namespace
}  // namespace octet::kernels::test
