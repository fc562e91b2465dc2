// What one rendering may still spend. Everything that works in proportion to its input says so here
// before it works.
#pragma once

#include "coordinator/chat/error.h"
#include "coordinator/chat/limits.h"

namespace octet::chat {

class Budget {
 public:
  explicit Budget(const ChatTemplateLimits& limits) : limits_(limits) {}

  void Step(int64_t steps = 1) {
    steps_ += steps;
    if (steps_ > limits_.steps) RefuseTooMuch("the template takes too many steps", limits_.steps);
  }
  // A string of so many bytes is read, or searched in linear time.
  void Read(int64_t bytes) { Step(1 + bytes / 64); }
  void Make(int64_t bytes) {
    // No sum overflows: both are at most the limit before it.
    if (bytes > limits_.value_bytes || (value_bytes_ += bytes) > limits_.value_bytes) {
      RefuseTooMuch("the template makes too many bytes of values", limits_.value_bytes);
    }
    Read(bytes);
  }
  // `items` values of a new list; 80 bytes is a value and a small string.
  void MakeItems(int64_t items) {
    Make(items > limits_.value_bytes ? items : items * 80);
    Step(items);
  }
  void Print(int64_t output_bytes) const {
    if (output_bytes > limits_.output_bytes) {
      RefuseTooMuch("the rendered text has too many bytes", limits_.output_bytes);
    }
  }
  const ChatTemplateLimits& limits() const { return limits_; }

  // While it lives, one evaluation is nested in another.
  class Nested {
   public:
    explicit Nested(Budget* budget) : budget_(budget) {
      if (++budget_->depth_ > budget_->limits_.evaluation_depth) {
        --budget_->depth_;
        RefuseTooMuch("the template nests its evaluation too deep",
                      budget_->limits_.evaluation_depth);
      }
    }
    ~Nested() { --budget_->depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Budget* budget_;
  };

 private:
  ChatTemplateLimits limits_;
  int64_t steps_ = 0;
  int64_t value_bytes_ = 0;
  int32_t depth_ = 0;
};

}  // namespace octet::chat
