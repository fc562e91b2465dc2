// What a template may call by name: filters, tests, methods of strings and dicts, global functions.
// Each is a pure function of its arguments, but for iterators, which it uses up, and the budget.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/chat/budget.h"
#include "coordinator/chat/value.h"

namespace octet::chat {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The arguments in the order of `names`; nullptr where one is not given. Refuses what `callee`
  // does not take.
  std::vector<const Value*> Bind(std::string_view callee,
                                 const std::vector<std::string_view>& names) const;
};

using Filter = Value (*)(const Value& subject, const Arguments& arguments, Budget* budget);
using Test = bool (*)(const Value& subject, const Arguments& arguments, Budget* budget);

// nullptr for a name that is not supported.
Filter FindFilter(std::string_view name);
Test FindTest(std::string_view name);
// The filters of sequence_filters.cc, of which FindFilter knows.
Filter FindSequenceFilter(std::string_view name);

bool IsMethod(const Value& self, std::string_view name);
Value CallMethod(const Value& self, std::string_view name, const Arguments& arguments,
                 Budget* budget);

// object.name: a method or attribute first, then an item, else undefined.
Value Attribute(const Value& object, std::string_view name, Budget* budget);
// object[key]: an item first, then a method or attribute, else undefined.
Value Subscript(const Value& object, const Value& key, Budget* budget);
Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step,
            Budget* budget);

// Python's strftime of the C locale, of a time without a zone.
std::string FormatTime(std::string_view format, const std::tm& time);

// The arguments of builtins as Python converts them, or refuses to.
int64_t IntegerArgument(const Value& value, std::string_view callee);
const MarkedText& MarkedArgument(const Value& value, std::string_view callee);
const std::string& TextArgument(const Value& value, std::string_view callee);
// Refuses text beyond ASCII, of which this code does not know what `callee` asks for.
void RequireAscii(std::string_view text, std::string_view callee);
std::string UpperOrRefuse(std::string_view text);
std::string LowerOrRefuse(std::string_view text);

}  // namespace octet::chat
