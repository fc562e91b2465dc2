// Python's operators on values. What Python answers with a TypeError is refused with its words.
#pragma once

#include <vector>

#include "coordinator/chat/budget.h"
#include "coordinator/chat/value.h"

namespace octet::chat {

enum class Operator : uint8_t {
  kNone,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

bool Truth(const Value& value);
bool Equal(const Value& a, const Value& b, Budget* budget);
bool Less(const Value& a, const Value& b, Budget* budget);
bool Contains(const Value& container, const Value& item, Budget* budget);
// Of the dict; nullptr when it has no such key.
const Value* FindKey(const Value& dict, const Value& key, Budget* budget);

Value Arithmetic(Operator op, const Value& a, const Value& b, Budget* budget);
bool Compare(Operator op, const Value& a, const Value& b, Budget* budget);
Value Negate(const Value& value);

// len(), or nothing for what has none.
int64_t Length(const Value& value);
bool HasLength(const Value& value);
bool IsIterable(const Value& value);
// What a for loop sees.
std::vector<Value> Items(const Value& value, Budget* budget);

// Refuses what cannot be a key of a dict.
void RequireHashable(const Value& value);
// Refuses undefined where its use is an error.
void RequireDefined(const Value& value);

}  // namespace octet::chat
