// The filters of sequences. What jinja2 makes a generator is an iterator here, too: it is true, has
// no length, and is empty once it was read. Its items are computed at once, though.
#include <algorithm>

#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/print.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

// `a.b.0`: items of items, by name or number.
Value ItemByPath(const Value& subject, const Value& path, Budget* budget) {
  if (!path.is_string()) return Subscript(subject, path, budget);
  Value value = subject;
  for (const std::string_view part : Split(path.text(), ".", -1)) {
    const bool is_number =
        !part.empty() && part.size() < 18 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    const Value key = is_number ? Value::Int(std::stoll(std::string(part))) : Value::String(part);
    value = Subscript(value, key, budget);
  }
  return value;
}

// What sorting looks at: the item, or what `attribute` names in it, in lower case if it is a string
// and `fold` is set.
Value SortKey(const Value& item, const Value* attribute, bool fold, Budget* budget) {
  const bool by_path = attribute != nullptr && !attribute->is_none();
  Value key = by_path ? ItemByPath(item, *attribute, budget) : item;
  if (!fold || !key.is_string()) return key;
  return CallMethod(key, "lower", {}, budget);
}

bool IsSet(const Value* argument) { return argument != nullptr && Truth(*argument); }

struct Keyed {
  Value key;
  Value item;
};

Value Sorted(std::vector<Keyed> items, bool reverse, Budget* budget) {
  budget->MakeItems(2 * static_cast<int64_t>(items.size()));
  const auto before = [&](const Keyed& a, const Keyed& b) { return Less(a.key, b.key, budget); };
  // Python's reverse sort keeps equal items in their order.
  if (reverse) std::reverse(items.begin(), items.end());
  std::stable_sort(items.begin(), items.end(), before);
  if (reverse) std::reverse(items.begin(), items.end());
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (Keyed& keyed : items) sorted.push_back(std::move(keyed.item));
  return Value::List(std::move(sorted));
}

Value Sort(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<Keyed> items;
  for (const Value& item : Items(subject, budget)) {
    items.push_back({SortKey(item, bound[2], !IsSet(bound[1]), budget), item});
  }
  return Sorted(std::move(items), IsSet(bound[0]), budget);
}

Value DictSort(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = bound[1] != nullptr ? TextArgument(*bound[1], "dictsort") : "key";
  if (by != "key" && by != "value") Refuse("You can only sort by either \"key\" or \"value\"");
  RequireDefined(subject);
  if (!subject.is_dict()) Refuse("dictsort takes a dict, not " + subject.TypeName());
  std::vector<Keyed> items;
  for (const auto& [key, item] : subject.pairs()) {
    items.push_back({SortKey(by == "key" ? key : item, nullptr, !IsSet(bound[0]), budget),
                     Value::Tuple({key, item})});
  }
  return Sorted(std::move(items), IsSet(bound[2]), budget);
}

Value Unique(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("unique", {"case_sensitive", "attribute"});
  std::vector<Value> keys;
  std::vector<Value> items;
  for (const Value& item : Items(subject, budget)) {
    Value key = SortKey(item, bound[1], !IsSet(bound[0]), budget);
    RequireHashable(key);
    if (std::any_of(keys.begin(), keys.end(),
                    [&](const Value& seen) { return Equal(seen, key, budget); })) {
      continue;
    }
    keys.push_back(std::move(key));
    items.push_back(item);
  }
  return Value::Iterator(std::move(items));
}

Value LengthFilter(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("length", {});
  if (subject.is_string()) budget->Read(static_cast<int64_t>(subject.text().size()));
  return Value::Int(Length(subject));
}

Value First(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("first", {});
  const std::vector<Value> items =
      subject.Is(Kind::kIterator) ? subject.TakeFromIterator(1) : Items(subject, budget);
  if (items.empty()) return Value::Undefined("No first item, sequence was empty.");
  return items.front();
}

Value Last(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("last", {});
  if (subject.Is(Kind::kIterator)) Refuse("'generator' object is not reversible");
  const std::vector<Value> items = Items(subject, budget);
  if (items.empty()) return Value::Undefined("No last item, sequence was empty.");
  return items.back();
}

Value List(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("list", {});
  return Value::List(Items(subject, budget));
}

Value Reverse(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("reverse", {});
  if (subject.is_string()) {
    return Slice(subject, Value::None(), Value::None(), Value::Int(-1), budget);
  }
  std::vector<Value> items = Items(subject, budget);
  std::reverse(items.begin(), items.end());
  // A generator cannot be read backwards, and becomes a list.
  return subject.Is(Kind::kIterator) ? Value::List(std::move(items))
                                     : Value::Iterator(std::move(items));
}

Value JoinFilter(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("join", {"d", "attribute"});
  const MarkedText separator = bound[0] != nullptr ? Str(*bound[0], budget) : MarkedText();
  const bool by_path = bound[1] != nullptr && !bound[1]->is_none();
  MarkedText text;
  bool first = true;
  for (const Value& item : Items(subject, budget)) {
    const MarkedText part = Str(by_path ? ItemByPath(item, *bound[1], budget) : item, budget);
    budget->Make(part.cost_bytes() + separator.cost_bytes());
    if (!first) text.Append(separator);
    first = false;
    text.Append(part);
  }
  return Value::String(std::move(text));
}

Value ItemsFilter(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("items", {});
  if (subject.is_undefined()) return Value::Iterator({});
  if (!subject.is_dict()) Refuse("Can only get item pairs from a mapping.");
  return Value::Iterator(Items(CallMethod(subject, "items", {}, budget), budget));
}

Value Sum(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("sum", {"attribute", "start"});
  Value sum = bound[1] != nullptr ? *bound[1] : Value::Int(0);
  if (sum.is_string()) Refuse("sum() can't sum strings");
  const bool by_path = bound[0] != nullptr && !bound[0]->is_none();
  for (const Value& item : Items(subject, budget)) {
    const Value& term = by_path ? ItemByPath(item, *bound[0], budget) : item;
    sum = Arithmetic(Operator::kAdd, sum, term, budget);
  }
  return sum;
}

template <bool kGreatest>
Value Extreme(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("min and max", {"case_sensitive", "attribute"});
  const std::vector<Value> items = Items(subject, budget);
  if (items.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  Keyed best{SortKey(items[0], bound[1], !IsSet(bound[0]), budget), items[0]};
  for (size_t i = 1; i < items.size(); ++i) {
    Keyed next{SortKey(items[i], bound[1], !IsSet(bound[0]), budget), items[i]};
    const bool better =
        kGreatest ? Less(best.key, next.key, budget) : Less(next.key, best.key, budget);
    if (better) best = std::move(next);
  }
  return best.item;
}

// The arguments behind the first `count` positional ones.
Arguments Rest(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<int64_t>(count));
  return rest;
}

Value Map(const Value& subject, const Arguments& arguments, Budget* budget) {
  std::vector<Value> mapped;
  if (arguments.positional.empty()) {
    const auto bound = arguments.Bind("map", {"attribute", "default"});
    if (bound[0] == nullptr) Refuse("map requires a filter argument");
    if (!Truth(subject)) return Value::Iterator({});
    for (const Value& item : Items(subject, budget)) {
      Value value = ItemByPath(item, *bound[0], budget);
      const bool replaced = value.is_undefined() && bound[1] != nullptr && !bound[1]->is_none();
      mapped.push_back(replaced ? *bound[1] : std::move(value));
    }
    return Value::Iterator(std::move(mapped));
  }
  const std::string& name = TextArgument(arguments.positional[0], "map");
  const Filter filter = FindFilter(name);
  if (filter == nullptr) Refuse("the filter `" + name.substr(0, 60) + "` is not supported");
  if (!Truth(subject)) return Value::Iterator({});
  Budget::Nested nested(budget);  // map('map', 'map', ...)
  const Arguments rest = Rest(arguments, 1);
  for (const Value& item : Items(subject, budget)) mapped.push_back(filter(item, rest, budget));
  return Value::Iterator(std::move(mapped));
}

// select, reject, selectattr, rejectattr.
template <bool kByAttribute, bool kWanted>
Value Choose(const Value& subject, const Arguments& arguments, Budget* budget) {
  const size_t test_at = kByAttribute ? 1 : 0;
  if (arguments.positional.size() < test_at) Refuse("Missing parameter for attribute name");
  Test test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > test_at) {
    const std::string& name = TextArgument(arguments.positional[test_at], "select");
    test = FindTest(name);
    if (test == nullptr) Refuse("the test `" + name.substr(0, 60) + "` is not supported");
    rest = Rest(arguments, test_at + 1);
  }
  if (!Truth(subject)) return Value::Iterator({});
  std::vector<Value> chosen;
  for (Value& item : Items(subject, budget)) {
    budget->Step();
    const Value value = kByAttribute ? ItemByPath(item, arguments.positional[0], budget) : item;
    const bool holds = test != nullptr ? test(value, rest, budget) : Truth(value);
    if (holds == kWanted) chosen.push_back(std::move(item));
  }
  return Value::Iterator(std::move(chosen));
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};
constexpr NamedFilter kFilters[] = {
    {"length", LengthFilter},
    {"count", LengthFilter},
    {"first", First},
    {"last", Last},
    {"list", List},
    {"reverse", Reverse},
    {"join", JoinFilter},
    {"sort", Sort},
    {"dictsort", DictSort},
    {"unique", Unique},
    {"items", ItemsFilter},
    {"sum", Sum},
    {"min", Extreme<false>},
    {"max", Extreme<true>},
    {"map", Map},
    {"select", Choose<false, true>},
    {"reject", Choose<false, false>},
    {"selectattr", Choose<true, true>},
    {"rejectattr", Choose<true, false>},
};

}  // namespace

Filter FindSequenceFilter(std::string_view name) {
  for (const NamedFilter& candidate : kFilters) {
    if (candidate.name == name) return candidate.filter;
  }
  return nullptr;
}

}  // namespace octet::chat
