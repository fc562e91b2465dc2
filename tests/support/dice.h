// What a test draws at random. Every run draws the same; GoogleTest's own flags make it others:
//   TEST --gtest_filter=*Random* --gtest_shuffle --gtest_random_seed=7 --gtest_repeat=100
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <random>

namespace octet::test {

class Dice {
 public:
  std::mt19937& engine() { return engine_; }
  uint32_t Seed() { return engine_(); }
  // Both ends are drawn, too.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  float Fraction() { return static_cast<float>(Between(0, 9999)) / 10000; }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }
  template <typename T>
  T Of(std::initializer_list<T> list) {
    return list.begin()[Between(0, static_cast<int64_t>(list.size()) - 1)];
  }

 private:
  std::mt19937 engine_{static_cast<uint32_t>(::testing::UnitTest::GetInstance()->random_seed())};
};

}  // namespace octet::test
