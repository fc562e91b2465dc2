// The pool hands out every index once, whatever the number of threads, and wakes from sleep.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace octet {
namespace {

TEST(ThreadPool, EveryItemOnceInRangesOfAtMostTheGrain) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(count);
        std::atomic<bool> ranges_ok{true};
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
          if (begin >= end || end - begin > grain || begin % grain != 0) ranges_ok = false;
          for (int64_t i = begin; i < end; ++i) hits[i].fetch_add(1);
        });
        EXPECT_TRUE(ranges_ok) << threads << " threads, count " << count << ", grain " << grain;
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(hits[i].load(), 1);
      }
    }
  }
}

TEST(ThreadPool, ResultsAreSeenByTheCaller) {
  ThreadPool pool(4);
  std::vector<int64_t> values(512);  // plain writes: a race would show under TSan
  for (int64_t round = 1; round <= 500; ++round) {
    pool.ParallelFor(512, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] += i * round;
    });
  }
  for (int64_t i = 0; i < 512; ++i) ASSERT_EQ(values[i], i * 500 * 501 / 2);
}

// Each begins where the thread's run of items begins, and none leaves what is read.
TEST(ThreadPool, SharesOfAnExpectedReadAreThoseOfTheItems) {
  constexpr int64_t kItems = 43;
  for (const int64_t item_bytes : {192, 50000}) {
    const int64_t bytes = kItems * item_bytes - 64;
    const ExpectedRead read = {.bytes = bytes, .items = kItems, .item_bytes = item_bytes};
    for (const int threads : {1, 2, 3, 50}) {
      for (int t = 0; t < threads; ++t) {
        const ExpectedRead::Share share = read.ShareOf(t, threads);
        const int64_t end = (t + 1) * kItems / threads * item_bytes;
        EXPECT_EQ(share.begin, t * kItems / threads * item_bytes);
        EXPECT_EQ(share.end, std::min({share.begin + ExpectedRead::kShareBytesMax, end, bytes}));
      }
    }
  }
  EXPECT_EQ(ExpectedRead().ShareOf(0, 2).end, 0);
}

TEST(ThreadPool, WhatIsExpectedNeedNotBeThere) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  for (int64_t round = 0; round < 200; ++round) {
    const std::vector<std::byte> read(5000);  // gone when threads wait for the next job
    pool.Expect({.data = read.data(), .bytes = 5000, .items = 5, .item_bytes = 1000});
    pool.ParallelFor(8, 1, [&](int64_t begin, int64_t) { sum += begin; });
  }
  pool.Expect({});
  pool.OnEachThread([&](int) { ++sum; });
  EXPECT_EQ(sum.load(), 200 * 28 + 2);
}

// Whoever has the first item waits for all others, so someone else must take the rest of its run.
TEST(ThreadPool, AThreadThatIsHeldUpIsHelped) {
  ThreadPool pool(3);
  constexpr int64_t kItems = 30;
  std::atomic<int64_t> done{0};
  std::atomic<bool> helped{false};
  pool.ParallelFor(kItems, 1, [&](int64_t begin, int64_t) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begin == 0 && done.load() < kItems - 1 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    if (begin == 0) helped = done.load() == kItems - 1;
    done.fetch_add(1);
  });
  EXPECT_TRUE(helped.load());
}

TEST(ThreadPool, OnEachThreadRunsOncePerThread) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<std::thread::id> ids(threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> calls(threads);
      pool.OnEachThread([&](int thread) {
        calls[thread].fetch_add(1);
        ids[thread] = std::this_thread::get_id();
      });
      for (int t = 0; t < threads; ++t) ASSERT_EQ(calls[t].load(), 1);
    }
    EXPECT_EQ(ids[0], std::this_thread::get_id());
    for (int t = 1; t < threads; ++t) EXPECT_NE(ids[t], ids[0]);
  }
}

TEST(ThreadPool, WakesFromSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 10; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // beyond the spin: all block
    std::atomic<int64_t> sum{0};
    pool.OnEachThread([&](int thread) { sum += thread; });
    ASSERT_EQ(sum.load(), 3);
  }
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(1 + i % 4);
}

}  // namespace
}  // namespace octet
