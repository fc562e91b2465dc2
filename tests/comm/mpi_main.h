// main() of a test binary that also runs under mpirun: MPI lives as long as main, rank 0 prints the
// report and every rank prints its own failures.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "tests/comm/worlds.h"

namespace octet::comm {

class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_, result.file_name(), result.line_number(),
                 result.summary());
  }

 private:
  int rank_;
};

inline int RunTests(int argc, char** argv) {
#ifdef OCTET_HAVE_MPI
  std::unique_ptr<MpiRuntime> runtime;
  if (UnderMpi()) runtime = std::make_unique<MpiRuntime>(&argc, &argv);
#endif
  testing::InitGoogleTest(&argc, argv);
#ifdef OCTET_HAVE_MPI
  if (runtime != nullptr && runtime->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(runtime->rank()));
  }
#endif
  return RUN_ALL_TESTS();
}

}  // namespace octet::comm
