// The methods of strings and dicts.
#include <array>

#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/print.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

using Text = const MarkedText&;
using Method = Value (*)(Text self, const Arguments& arguments, Budget* budget);

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

const Value& Required(const Value* argument, std::string_view callee) {
  if (argument == nullptr) Refuse(std::string(callee) + " lacks an argument");
  return *argument;
}

Value ListOf(Text whole, const std::vector<std::string_view>& pieces, Budget* budget) {
  budget->MakeItems(static_cast<int64_t>(pieces.size()));
  std::vector<Value> items;
  items.reserve(pieces.size());
  for (const auto piece : pieces) items.push_back(Value::String(whole.Part(piece)));
  return Value::List(std::move(items));
}

template <bool kLeft, bool kRight>
Value Strip(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("strip", {"chars"});
  std::optional<std::string_view> characters;
  if (bound[0] != nullptr && !bound[0]->is_none()) characters = TextArgument(*bound[0], "strip");
  // Each character of the text may be looked for in all of `characters`.
  budget->Step(static_cast<int64_t>(self.text.size() / 16 + 1) *
               static_cast<int64_t>(characters.value_or("").size() / 16 + 1));
  std::string_view text = self.text;
  if (kLeft) text = StripLeft(text, characters);
  if (kRight) text = StripRight(text, characters);
  return Value::String(self.Part(text));
}

template <bool kFromRight>
Value SplitMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("split", {"sep", "maxsplit"});
  std::optional<std::string_view> separator;
  if (bound[0] != nullptr && !bound[0]->is_none()) separator = TextArgument(*bound[0], "split");
  if (separator && separator->empty()) Refuse("empty separator");
  const int64_t count = bound[1] != nullptr ? IntegerArgument(*bound[1], "split") : -1;
  budget->Make(self.cost_bytes());
  // A piece has at least one byte of the text, and needs 80.
  if (separator) {
    budget->MakeItems(CountOccurrences(self.text, *separator));
  } else {
    budget->Make(static_cast<int64_t>(self.text.size()) * 8);
  }
  return ListOf(
      self,
      kFromRight ? SplitFromRight(self.text, separator, count) : Split(self.text, separator, count),
      budget);
}

Value SplitLinesMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("splitlines", {"keepends"});
  budget->Make(self.cost_bytes() * 16);
  return ListOf(self, SplitLines(self.text, bound[0] != nullptr && Truth(*bound[0])), budget);
}

template <bool kAtStart>
Value HasAffix(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("startswith and endswith", {"prefix"});
  const Value& affix = Required(bound[0], "startswith");
  const auto has = [&](const Value& candidate) {
    const std::string& text = TextArgument(candidate, "startswith");
    budget->Read(static_cast<int64_t>(text.size()));
    return kAtStart ? self.text.starts_with(text) : self.text.ends_with(text);
  };
  if (!affix.Is(Kind::kTuple)) return Value::Bool(has(affix));
  for (const Value& candidate : affix.items()) {
    if (has(candidate)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool kAtStart>
Value RemoveAffix(Text self, const Arguments& arguments, Budget*) {
  const auto bound = arguments.Bind("removeprefix", {"prefix"});
  const std::string& affix = TextArgument(Required(bound[0], "removeprefix"), "removeprefix");
  const bool has = kAtStart ? self.text.starts_with(affix) : self.text.ends_with(affix);
  if (!has) return Value::String(self);
  const size_t begin = kAtStart ? affix.size() : 0;
  return Value::String(self.Part(begin, begin + self.text.size() - affix.size()));
}

Value ReplaceMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("replace", {"old", "new", "count"});
  const std::string& part = TextArgument(Required(bound[0], "replace"), "replace");
  const MarkedText& by = MarkedArgument(Required(bound[1], "replace"), "replace");
  const int64_t count =
      bound[2] != nullptr && !bound[2]->is_none() ? IntegerArgument(*bound[2], "replace") : -1;
  budget->Make(self.cost_bytes());
  const int64_t found = CountOccurrences(self.text, part);
  budget->Step(found);
  int64_t added_bytes = 0;
  if (__builtin_mul_overflow(found, by.cost_bytes(), &added_bytes)) {
    RefuseTooMuch("replace makes too many bytes", budget->limits().value_bytes);
  }
  if (count != 0) budget->Make(count > 0 && count < found ? 0 : added_bytes);
  if (count > 0 && count < found) budget->Make(count * by.cost_bytes());
  return Value::String(Replace(self, part, by, count));
}

Value JoinMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("join", {"iterable"});
  MarkedText text;
  bool first = true;
  for (const Value& item : Items(Required(bound[0], "join"), budget)) {
    const MarkedText& part = MarkedArgument(item, "join");
    budget->Make(part.cost_bytes() + self.cost_bytes());
    if (!first) text.Append(self);
    first = false;
    text.Append(part);
  }
  return Value::String(std::move(text));
}

template <bool kLast, bool kMustExist>
Value FindMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("find", {"sub"});
  const std::string& part = TextArgument(Required(bound[0], "find"), "find");
  budget->Make(static_cast<int64_t>(self.text.size()));
  const size_t at = kLast ? FindLast(self.text, part) : Find(self.text, part);
  if (at != std::string::npos) {
    return Value::Int(CodePointCount(std::string_view(self.text).substr(0, at)));
  }
  if (kMustExist) Refuse("substring not found");
  return Value::Int(-1);
}

Value CountMethod(Text self, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("count", {"sub"});
  budget->Make(static_cast<int64_t>(self.text.size()));
  const std::string& part = TextArgument(Required(bound[0], "count"), "count");
  return Value::Int(CountOccurrences(self.text, part));
}

// A method without arguments that changes the case of letters.
template <std::string (*kConvert)(std::string_view)>
Value Recase(Text self, const Arguments& arguments, Budget* budget) {
  arguments.Bind("upper, lower and their like", {});
  budget->Make(static_cast<int64_t>(self.text.size()));
  return Value::String(MarkedText::Derived(kConvert(self.text), self));
}

std::string Titled(std::string_view text) {
  RequireAscii(text, "title()");
  std::string out = LowerOrRefuse(text);
  for (size_t i = 0; i < out.size(); ++i) {
    const bool inside_word = i > 0 && (IsLower(out[i - 1]) || IsUpper(out[i - 1]));
    if (!inside_word && IsLower(out[i])) out[i] = static_cast<char>(out[i] - 32);
  }
  return out;
}

std::string Capitalized(std::string_view text) {
  if (text.empty()) return "";
  const char32_t first = CodePointAt(text, 0);
  // Characters of which title case is not upper case.
  if ((first >= 0x1C4 && first <= 0x1F3) || (first >= 0x10D0 && first <= 0x10FF) || first == 0xDF) {
    RequireAscii(text, "capitalize");
  }
  const size_t first_bytes = CodePointBytes(text, 0);
  return UpperOrRefuse(text.substr(0, first_bytes)) + LowerOrRefuse(text.substr(first_bytes));
}

// A method without arguments that asks whether all characters (at least one) are of a class.
template <bool (*kIsOfClass)(char)>
Value AllAre(Text self, const Arguments& arguments, Budget* budget) {
  arguments.Bind("isdigit, isalpha and their like", {});
  RequireAscii(self.text, "the classes of characters");
  budget->Read(static_cast<int64_t>(self.text.size()));
  bool all = !self.text.empty();
  for (const char c : self.text) all = all && kIsOfClass(c);
  return Value::Bool(all);
}

bool IsLetter(char c) { return IsLower(c) || IsUpper(c); }
bool IsLetterOrDigit(char c) { return IsLetter(c) || IsDigit(c); }
bool IsBlank(char c) { return IsSpace(static_cast<unsigned char>(c)); }

// islower, isupper: at least one letter of the case, none of the other.
template <bool kLower>
Value AllOfCase(Text self, const Arguments& arguments, Budget* budget) {
  arguments.Bind("islower and isupper", {});
  RequireAscii(self.text, "the case");
  budget->Read(static_cast<int64_t>(self.text.size()));
  bool some = false;
  for (const char c : self.text) {
    if (kLower ? IsUpper(c) : IsLower(c)) return Value::Bool(false);
    some = some || IsLetter(c);
  }
  return Value::Bool(some);
}

struct NamedMethod {
  std::string_view name;
  Method method;
};
constexpr NamedMethod kStringMethods[] = {
    {"strip", Strip<true, true>},
    {"lstrip", Strip<true, false>},
    {"rstrip", Strip<false, true>},
    {"split", SplitMethod<false>},
    {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},
    {"startswith", HasAffix<true>},
    {"endswith", HasAffix<false>},
    {"removeprefix", RemoveAffix<true>},
    {"removesuffix", RemoveAffix<false>},
    {"replace", ReplaceMethod},
    {"join", JoinMethod},
    {"find", FindMethod<false, false>},
    {"rfind", FindMethod<true, false>},
    {"index", FindMethod<false, true>},
    {"rindex", FindMethod<true, true>},
    {"count", CountMethod},
    {"upper", Recase<UpperOrRefuse>},
    {"lower", Recase<LowerOrRefuse>},
    {"title", Recase<Titled>},
    {"capitalize", Recase<Capitalized>},
    {"isdigit", AllAre<IsDigit>},
    {"isalpha", AllAre<IsLetter>},
    {"isalnum", AllAre<IsLetterOrDigit>},
    {"isspace", AllAre<IsBlank>},
    {"islower", AllOfCase<true>},
    {"isupper", AllOfCase<false>},
};
constexpr std::array<std::string_view, 5> kDictMethods = {"get", "items", "keys", "values", "copy"};

Method FindStringMethod(std::string_view name) {
  for (const NamedMethod& candidate : kStringMethods) {
    if (candidate.name == name) return candidate.method;
  }
  return nullptr;
}

Value CallDictMethod(const Value& self, std::string_view name, const Arguments& arguments,
                     Budget* budget) {
  if (name == "get") {
    const auto bound = arguments.Bind("get", {"key", "default"});
    RequireHashable(Required(bound[0], "get"));
    const Value* item = FindKey(self, *bound[0], budget);
    if (item != nullptr) return *item;
    return bound[1] != nullptr ? *bound[1] : Value::None();
  }
  arguments.Bind("the method of a dict", {});
  if (name == "copy") return self;  // values never change
  std::vector<Value> items;
  budget->MakeItems(2 * static_cast<int64_t>(self.pairs().size()));
  for (const auto& [key, item] : self.pairs()) {
    items.push_back(name == "keys" ? key : name == "values" ? item : Value::Tuple({key, item}));
  }
  return Value::View(name, std::move(items));
}

}  // namespace

std::string UpperOrRefuse(std::string_view text) {
  auto upper = Upper(text);
  if (!upper) RefuseUnsupported("the upper case of a character of the text is not supported");
  return *upper;
}

std::string LowerOrRefuse(std::string_view text) {
  auto lower = Lower(text);
  if (!lower) RefuseUnsupported("the lower case of a character of the text is not supported");
  return *lower;
}

bool IsMethod(const Value& self, std::string_view name) {
  if (self.is_string()) return FindStringMethod(name) != nullptr;
  if (!self.is_dict()) return false;
  for (const std::string_view candidate : kDictMethods) {
    if (candidate == name) return true;
  }
  return false;
}

Value CallMethod(const Value& self, std::string_view name, const Arguments& arguments,
                 Budget* budget) {
  if (self.is_dict()) return CallDictMethod(self, name, arguments, budget);
  return FindStringMethod(name)(self.marked(), arguments, budget);
}

}  // namespace octet::chat
