// The tests of `is`.
#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/print.h"

namespace octet::chat {
namespace {

// A test without arguments.
template <bool (*kTest)(const Value&)>
bool Plain(const Value& subject, const Arguments& arguments, Budget*) {
  arguments.Bind("the test", {});
  return kTest(subject);
}

template <Operator kOperator>
bool Compares(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("the test", {"other"});
  if (bound[0] == nullptr) Refuse("the test lacks an argument");
  return Compare(kOperator, subject, *bound[0], budget);
}

bool DivisibleBy(const Value& subject, const Value& divisor, Budget* budget) {
  const Value remainder = Arithmetic(Operator::kModulo, subject, divisor, budget);
  return Equal(remainder, Value::Int(0), budget);
}

bool IsOdd(const Value& value, const Arguments& arguments, Budget* budget) {
  arguments.Bind("odd", {});
  const Value remainder = Arithmetic(Operator::kModulo, value, Value::Int(2), budget);
  return Equal(remainder, Value::Int(1), budget);
}

bool IsEven(const Value& value, const Arguments& arguments, Budget* budget) {
  arguments.Bind("even", {});
  return DivisibleBy(value, Value::Int(2), budget);
}

bool IsDivisibleBy(const Value& value, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("divisibleby", {"num"});
  if (bound[0] == nullptr) Refuse("divisibleby lacks an argument");
  return DivisibleBy(value, *bound[0], budget);
}

// Values that are the same object in Python: small and immutable ones, and what was never copied.
bool IsSameAs(const Value& value, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("sameas", {"other"});
  if (bound[0] == nullptr) Refuse("sameas lacks an argument");
  if (value.kind() != bound[0]->kind()) return false;
  if (value.is_none() || value.is_number() || value.is_string()) {
    return Equal(value, *bound[0], budget);
  }
  return value.Is(Kind::kNamespace) ? value.space() == bound[0]->space()
                                    : value.identity() == bound[0]->identity();
}

template <bool kLower>
bool IsOfCase(const Value& value, const Arguments& arguments, Budget* budget) {
  arguments.Bind("lower and upper", {});
  const Value text = Value::String(Str(value, budget));
  return Truth(CallMethod(text, kLower ? "islower" : "isupper", {}, budget));
}

bool NamesFilter(const Value& value, const Arguments&, Budget*) {
  return value.is_string() && FindFilter(value.text()) != nullptr;
}
bool NamesTest(const Value& value, const Arguments&, Budget*) {
  return value.is_string() && FindTest(value.text()) != nullptr;
}

bool IsDefined(const Value& v) { return !v.is_undefined(); }
bool IsUndefined(const Value& v) { return v.is_undefined(); }
bool IsNone(const Value& v) { return v.is_none(); }
bool IsBoolean(const Value& v) { return v.Is(Kind::kBool); }
bool IsTrue(const Value& v) { return v.Is(Kind::kBool) && v.boolean(); }
bool IsFalse(const Value& v) { return v.Is(Kind::kBool) && !v.boolean(); }
bool IsInteger(const Value& v) { return v.Is(Kind::kInt); }
bool IsFloat(const Value& v) { return v.Is(Kind::kFloat); }
bool IsNumber(const Value& v) { return v.is_number(); }
bool IsString(const Value& v) { return v.is_string(); }
bool IsMapping(const Value& v) { return v.is_dict(); }
bool IsIterableTest(const Value& v) { return IsIterable(v); }
// Python's undefined has a length and a __getitem__.
bool IsSequence(const Value& v) { return HasLength(v) && !v.Is(Kind::kView) && !v.Is(Kind::kLoop); }
bool IsCallable(const Value& v) {
  return v.Is(Kind::kFunction) || v.Is(Kind::kMethod) || v.Is(Kind::kMacro) || v.is_undefined();
}
bool IsEscaped(const Value&) { return false; }

struct NamedTest {
  std::string_view name;
  Test test;
};
constexpr NamedTest kTests[] = {
    {"defined", Plain<IsDefined>},
    {"undefined", Plain<IsUndefined>},
    {"none", Plain<IsNone>},
    {"boolean", Plain<IsBoolean>},
    {"true", Plain<IsTrue>},
    {"false", Plain<IsFalse>},
    {"integer", Plain<IsInteger>},
    {"float", Plain<IsFloat>},
    {"number", Plain<IsNumber>},
    {"string", Plain<IsString>},
    {"mapping", Plain<IsMapping>},
    {"iterable", Plain<IsIterableTest>},
    {"sequence", Plain<IsSequence>},
    {"callable", Plain<IsCallable>},
    {"escaped", Plain<IsEscaped>},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", IsDivisibleBy},
    {"sameas", IsSameAs},
    {"lower", IsOfCase<true>},
    {"upper", IsOfCase<false>},
    {"filter", NamesFilter},
    {"test", NamesTest},
    {"in", Compares<Operator::kIn>},
    {"eq", Compares<Operator::kEqual>},
    {"equalto", Compares<Operator::kEqual>},
    {"==", Compares<Operator::kEqual>},
    {"ne", Compares<Operator::kNotEqual>},
    {"!=", Compares<Operator::kNotEqual>},
    {"gt", Compares<Operator::kGreater>},
    {"greaterthan", Compares<Operator::kGreater>},
    {">", Compares<Operator::kGreater>},
    {"ge", Compares<Operator::kGreaterEqual>},
    {">=", Compares<Operator::kGreaterEqual>},
    {"lt", Compares<Operator::kLess>},
    {"lessthan", Compares<Operator::kLess>},
    {"<", Compares<Operator::kLess>},
    {"le", Compares<Operator::kLessEqual>},
    {"<=", Compares<Operator::kLessEqual>},
};

}  // namespace

Test FindTest(std::string_view name) {
  for (const NamedTest& candidate : kTests) {
    if (candidate.name == name) return candidate.test;
  }
  return nullptr;
}

}  // namespace octet::chat
