#include "coordinator/chat/operators.h"

#include <algorithm>
#include <cmath>

#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

constexpr const char* kSymbols[] = {"",   "+",  "-", "*",  "/", "//", "%",  "**",
                                    "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

[[noreturn]] void RefuseOperands(Operator op, const Value& a, const Value& b) {
  RequireDefined(a);
  RequireDefined(b);
  Refuse(std::string("unsupported operand types for ") + kSymbols[static_cast<int>(op)] + ": '" +
         a.TypeName() + "' and '" + b.TypeName() + "'");
}

[[noreturn]] void RefuseOverflow() {
  RefuseUnsupported("the template computes an integer beyond 64 bits, which is not supported");
}

int64_t Power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  // Beyond these bases 63 steps overflow or end.
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) RefuseOverflow();
  }
  return result;
}

Value IntegerArithmetic(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == Operator::kAdd && __builtin_add_overflow(a, b, &result)) RefuseOverflow();
  if (op == Operator::kSubtract && __builtin_sub_overflow(a, b, &result)) RefuseOverflow();
  if (op == Operator::kMultiply && __builtin_mul_overflow(a, b, &result)) RefuseOverflow();
  if (op == Operator::kFloorDivide || op == Operator::kModulo) {
    if (b == 0) Refuse("integer division or modulo by zero");
    if (b == -1) {
      if (op == Operator::kModulo) return Value::Int(0);
      if (__builtin_sub_overflow(int64_t{0}, a, &result)) RefuseOverflow();
      return Value::Int(result);
    }
    const bool round_down = a % b != 0 && (a % b < 0) != (b < 0);
    result = op == Operator::kModulo ? a % b + (round_down ? b : 0) : a / b - (round_down ? 1 : 0);
  }
  if (op == Operator::kPower) {
    if (b < 0) {
      if (a == 0) Refuse("0.0 cannot be raised to a negative power");
      return Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
    }
    result = Power(a, b);
  }
  return Value::Int(result);
}

Value FloatArithmetic(Operator op, double a, double b) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) Refuse("float division by zero");
  switch (op) {
    case Operator::kAdd:
      return Value::Float(a + b);
    case Operator::kSubtract:
      return Value::Float(a - b);
    case Operator::kMultiply:
      return Value::Float(a * b);
    case Operator::kDivide:
      return Value::Float(a / b);
    case Operator::kPower: {
      const double result = std::pow(a, b);
      if ((a < 0 && b != std::floor(b)) || (a == 0 && b < 0) ||
          (std::isinf(result) && std::isfinite(a) && std::isfinite(b))) {
        Refuse("the result of ** is not a finite real number");
      }
      return Value::Float(result);
    }
    default:
      break;
  }
  // As CPython's float_divmod does it.
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == Operator::kModulo) return Value::Float(remainder);
  if (quotient == 0) return Value::Float(std::copysign(0.0, a / b));
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1;
  return Value::Float(floored);
}

Value Repeat(const Value& value, int64_t times, Budget* budget) {
  times = std::max<int64_t>(times, 0);
  int64_t total = 0;
  const auto size =
      value.is_string() ? value.marked().cost_bytes() : static_cast<int64_t>(value.items().size());
  if (__builtin_mul_overflow(size, times, &total)) {
    RefuseTooMuch("the template makes too many bytes of values", budget->limits().value_bytes);
  }
  if (value.is_string()) {
    budget->Make(total);
    MarkedText text;
    text.text.reserve(total);
    for (int64_t i = 0; i < times && size > 0; ++i) text.Append(value.marked());
    return Value::String(std::move(text));
  }
  budget->MakeItems(total);
  std::vector<Value> items;
  for (int64_t i = 0; i < times && size > 0; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.Is(Kind::kList) ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
}

bool IsRepeatable(const Value& value) {
  return value.is_string() || value.Is(Kind::kList) || value.Is(Kind::kTuple);
}

Value Join(const Value& a, const Value& b, Budget* budget) {
  if (a.is_string()) {
    budget->Make(a.marked().cost_bytes() + b.marked().cost_bytes());
    MarkedText text = a.marked();
    text.Append(b.marked());
    return Value::String(std::move(text));
  }
  budget->MakeItems(static_cast<int64_t>(a.items().size() + b.items().size()));
  std::vector<Value> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.Is(Kind::kList) ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
}

bool EqualItems(const std::vector<Value>& a, const std::vector<Value>& b, Budget* budget) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Equal(a[i], b[i], budget)) return false;
  }
  return true;
}

bool EqualDicts(const Value& a, const Value& b, Budget* budget) {
  if (a.pairs().size() != b.pairs().size()) return false;
  for (const auto& [key, item] : a.pairs()) {
    const Value* other = FindKey(b, key, budget);
    if (other == nullptr || !Equal(item, *other, budget)) return false;
  }
  return true;
}

}  // namespace

void RequireDefined(const Value& value) {
  if (value.is_undefined()) Refuse(value.why_undefined());
}

void RequireHashable(const Value& value) {
  if (value.Is(Kind::kList) || value.is_dict()) {
    Refuse("unhashable type: '" + value.TypeName() + "'");
  }
  if (!value.Is(Kind::kTuple)) return;
  for (const Value& item : value.items()) RequireHashable(item);
}

bool Truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kString:
      return !value.text().empty();
    default:
      return !HasLength(value) || Length(value) != 0;
  }
}

bool Equal(const Value& a, const Value& b, Budget* budget) {
  Budget::Nested nested(budget);
  budget->Step();
  if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      if (a.text().size() != b.text().size()) return false;
      budget->Read(static_cast<int64_t>(a.text().size()));
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return EqualItems(a.items(), b.items(), budget);
    case Kind::kDict:
      return EqualDicts(a, b, budget);
    case Kind::kFunction:
      return a.text() == b.text();
    case Kind::kNamespace:
      return a.space() == b.space();
    case Kind::kRange:
      return EqualItems(Items(a, budget), Items(b, budget), budget);
    default:
      return a.identity() == b.identity();
  }
}

bool Less(const Value& a, const Value& b, Budget* budget) {
  Budget::Nested nested(budget);
  budget->Step();
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_string() && b.is_string()) {
    budget->Read(static_cast<int64_t>(std::min(a.text().size(), b.text().size())));
    return a.text() < b.text();  // UTF-8 sorts as its code points do
  }
  if (a.kind() != b.kind() || (!a.Is(Kind::kList) && !a.Is(Kind::kTuple))) {
    RefuseOperands(Operator::kLess, a, b);
  }
  const size_t shared = std::min(a.items().size(), b.items().size());
  for (size_t i = 0; i < shared; ++i) {
    if (!Equal(a.items()[i], b.items()[i], budget)) return Less(a.items()[i], b.items()[i], budget);
  }
  return a.items().size() < b.items().size();
}

const Value* FindKey(const Value& dict, const Value& key, Budget* budget) {
  budget->Step(static_cast<int64_t>(dict.pairs().size()) / 4);
  for (const auto& [candidate, item] : dict.pairs()) {
    if (key.is_string() && candidate.is_string()) {
      if (candidate.text() == key.text()) return &item;
      continue;
    }
    if (Equal(candidate, key, budget)) return &item;
  }
  return nullptr;
}

bool Contains(const Value& container, const Value& item, Budget* budget) {
  if (container.is_string()) {
    if (!item.is_string()) {
      RequireDefined(item);
      Refuse("'in <string>' requires string as left operand, not " + item.TypeName());
    }
    budget->Read(static_cast<int64_t>(container.text().size()));
    return Find(container.text(), item.text()) != std::string_view::npos;
  }
  if (container.is_dict()) {
    RequireHashable(item);
    return FindKey(container, item, budget) != nullptr;
  }
  if (container.has_items()) {
    for (const Value& candidate : container.items()) {
      if (Equal(candidate, item, budget)) return true;
    }
    return false;
  }
  for (const Value& candidate : Items(container, budget)) {
    if (Equal(candidate, item, budget)) return true;
  }
  return false;
}

Value Arithmetic(Operator op, const Value& a, const Value& b, Budget* budget) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral() && op != Operator::kDivide) {
      return IntegerArithmetic(op, a.integer(), b.integer());
    }
    return FloatArithmetic(op, a.number(), b.number());
  }
  if (op == Operator::kAdd && a.kind() == b.kind() && IsRepeatable(a)) return Join(a, b, budget);
  if (op == Operator::kMultiply) {
    if (IsRepeatable(a) && b.is_integral()) return Repeat(a, b.integer(), budget);
    if (IsRepeatable(b) && a.is_integral()) return Repeat(b, a.integer(), budget);
  }
  if (op == Operator::kModulo && a.is_string()) {
    RefuseUnsupported("formatting a string with % is not supported");
  }
  RefuseOperands(op, a, b);
}

bool Compare(Operator op, const Value& a, const Value& b, Budget* budget) {
  switch (op) {
    case Operator::kEqual:
      return Equal(a, b, budget);
    case Operator::kNotEqual:
      return !Equal(a, b, budget);
    case Operator::kLess:
      return Less(a, b, budget);
    case Operator::kGreater:
      return Less(b, a, budget);
    // Not the negation of >: a NaN is neither.
    case Operator::kLessEqual:
      return Less(a, b, budget) || Equal(a, b, budget);
    case Operator::kGreaterEqual:
      return Less(b, a, budget) || Equal(a, b, budget);
    case Operator::kIn:
      return Contains(b, a, budget);
    case Operator::kNotIn:
      return !Contains(b, a, budget);
    default:
      RefuseOperands(op, a, b);
  }
}

Value Negate(const Value& value) {
  if (value.Is(Kind::kFloat)) return Value::Float(-value.number());
  if (value.is_integral()) return IntegerArithmetic(Operator::kSubtract, 0, value.integer());
  RequireDefined(value);
  Refuse("bad operand type for unary -: '" + value.TypeName() + "'");
}

bool HasLength(const Value& value) {
  return value.is_string() || value.has_items() || value.is_dict() || value.Is(Kind::kRange) ||
         value.is_undefined() || value.Is(Kind::kLoop);
}

int64_t Length(const Value& value) {
  if (value.is_string()) return CodePointCount(value.text());
  if (value.has_items()) return static_cast<int64_t>(value.items().size());
  if (value.is_dict()) return static_cast<int64_t>(value.pairs().size());
  if (value.Is(Kind::kRange)) return value.range().length;
  if (value.Is(Kind::kLoop)) return static_cast<int64_t>(value.loop().items.size());
  if (value.is_undefined()) return 0;
  Refuse("object of type '" + value.TypeName() + "' has no len()");
}

bool IsIterable(const Value& value) { return HasLength(value) || value.Is(Kind::kIterator); }

std::vector<Value> Items(const Value& value, Budget* budget) {
  std::vector<Value> items;
  if (value.is_string()) {
    budget->MakeItems(CodePointCount(value.text()));
    const std::string_view text = value.text();
    for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) {
      items.push_back(Value::String(value.marked().Part(i, i + CodePointBytes(text, i))));
    }
    return items;
  }
  if (value.Is(Kind::kIterator)) {
    items = value.TakeFromIterator();
    budget->MakeItems(static_cast<int64_t>(items.size()));
    return items;
  }
  if (value.Is(Kind::kLoop) || !HasLength(value)) {
    Refuse("'" + value.TypeName() + "' object is not iterable");
  }
  budget->MakeItems(Length(value));
  if (value.has_items()) return value.items();
  if (value.is_dict()) {
    for (const auto& pair : value.pairs()) items.push_back(pair.first);
  } else if (value.Is(Kind::kRange)) {
    const RangeBox& range = value.range();
    for (int64_t i = 0; i < range.length; ++i) {
      items.push_back(Value::Int(range.start + i * range.step));
    }
  }
  return items;
}

}  // namespace octet::chat
