// object.name, object[key] and object[a:b:c] as jinja2's sandbox answers them, and the arguments of
// builtins.
#include <algorithm>
#include <array>

#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

Value NoAttribute(const Value& object, std::string_view name) {
  return Value::Undefined("'" + object.TypeName() + " object' has no attribute '" +
                          std::string(name.substr(0, 60)) + "'");
}

Value NoElement(const Value& object) {
  return Value::Undefined("'" + object.TypeName() + " object' has no such element");
}

Value LoopAttribute(const Value& object, std::string_view name) {
  const LoopBox& loop = object.loop();
  const auto length = static_cast<int64_t>(loop.items.size());
  const int64_t index0 = loop.index0;
  if (name == "index") return Value::Int(index0 + 1);
  if (name == "index0") return Value::Int(index0);
  if (name == "revindex") return Value::Int(length - index0);
  if (name == "revindex0") return Value::Int(length - index0 - 1);
  if (name == "first") return Value::Bool(index0 == 0);
  if (name == "last") return Value::Bool(index0 + 1 == length);
  if (name == "length") return Value::Int(length);
  // As in jinja2, a loop that is not recursive has depth 1 wherever it stands.
  if (name == "depth") return Value::Int(1);
  if (name == "depth0") return Value::Int(0);
  if (name == "cycle") return Value::Method(object, name);
  if (name == "previtem") {
    if (index0 == 0) return Value::Undefined("there is no previous item");
    return loop.items[static_cast<size_t>(index0 - 1)];
  }
  if (name == "nextitem") {
    if (index0 + 1 == length) return Value::Undefined("there is no next item");
    return loop.items[static_cast<size_t>(index0 + 1)];
  }
  return NoAttribute(object, name);
}

// A method or attribute, or undefined.
Value OwnAttribute(const Value& object, std::string_view name) {
  if (object.Is(Kind::kLoop)) return LoopAttribute(object, name);
  if (object.Is(Kind::kNamespace)) {
    for (const auto& [member, value] : object.space()->members) {
      if (member == name) return value;
    }
  }
  if (IsMethod(object, name)) return Value::Method(object, name);
  return NoAttribute(object, name);
}

// Changing a dict is what the immutable sandbox forbids; the names are taken all the same.
bool IsForbidden(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 5> kForbidden = {"clear", "pop", "popitem",
                                                                 "setdefault", "update"};
  return object.is_dict() &&
         std::find(kForbidden.begin(), kForbidden.end(), name) != kForbidden.end();
}

Value StringItem(const Value& object, int64_t index, Budget* budget) {
  const std::string& text = object.text();
  budget->Read(static_cast<int64_t>(text.size()));
  const int64_t length = CodePointCount(text);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return NoElement(object);
  if (length == static_cast<int64_t>(text.size())) {
    return Value::String(object.marked().Part(index, index + 1));
  }
  size_t offset = 0;
  for (; index > 0; --index) offset += CodePointBytes(text, offset);
  return Value::String(object.marked().Part(offset, offset + CodePointBytes(text, offset)));
}

Value ItemAt(const Value& object, int64_t index, Budget* budget) {
  if (object.is_string()) return StringItem(object, index, budget);
  const int64_t length = Length(object);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return NoElement(object);
  if (object.Is(Kind::kRange)) {
    return Value::Int(object.range().start + index * object.range().step);
  }
  return object.items()[static_cast<size_t>(index)];
}

bool IsIndexed(const Value& object) {
  return object.is_string() || object.Is(Kind::kList) || object.Is(Kind::kTuple) ||
         object.Is(Kind::kRange);
}

bool IsBound(const Value& value) { return value.is_none() || value.is_integral(); }

// The indices that a slice names, as Python's slice.indices has it.
struct SliceRange {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
  int64_t count = 0;
};

int64_t ClampBound(const Value& bound, int64_t otherwise, int64_t length, bool backwards) {
  if (bound.is_none()) return otherwise;
  const int64_t lowest = backwards ? -1 : 0;
  const int64_t highest = backwards ? length - 1 : length;
  int64_t index = bound.integer();
  if (index < 0) index += length;
  return std::clamp(index, lowest, std::max(lowest, highest));
}

SliceRange Resolve(const Value& start, const Value& stop, const Value& step, int64_t length) {
  SliceRange range;
  range.step = step.is_none() ? 1 : step.integer();
  if (range.step == 0) Refuse("slice step cannot be zero");
  // A longer step picks the same items, and cannot overflow.
  range.step = std::clamp(range.step, -length - 1, length + 1);
  const bool backwards = range.step < 0;
  range.start = ClampBound(start, backwards ? length - 1 : 0, length, backwards);
  range.stop = ClampBound(stop, backwards ? -1 : length, length, backwards);
  const int64_t span = backwards ? range.start - range.stop : range.stop - range.start;
  const int64_t stride = backwards ? -range.step : range.step;
  range.count = span <= 0 ? 0 : (span + stride - 1) / stride;
  return range;
}

Value SliceString(const MarkedText& marked, const SliceRange& range, Budget* budget) {
  const std::string& text = marked.text;
  budget->Make(marked.cost_bytes());
  const bool ascii = IsAscii(text);
  if (!ascii) budget->MakeItems(static_cast<int64_t>(text.size()) / 8);
  const std::vector<size_t> offsets = ascii ? std::vector<size_t>() : CodePointOffsets(text);
  const auto offset = [&](int64_t index) {
    return ascii ? static_cast<size_t>(index) : offsets[static_cast<size_t>(index)];
  };
  if (range.count == 0) return Value::String("");
  if (range.step == 1) {
    const size_t begin = offset(range.start);
    return Value::String(marked.Part(begin, offset(range.start + range.count)));
  }
  budget->Step(range.count / 8);
  MarkedText out;
  for (int64_t i = 0, at = range.start; i < range.count; ++i, at += range.step) {
    out.Append(marked.Part(offset(at), offset(at + 1)));
  }
  return Value::String(std::move(out));
}

}  // namespace

std::vector<const Value*> Arguments::Bind(std::string_view callee,
                                          const std::vector<std::string_view>& names) const {
  if (positional.size() > names.size()) {
    Refuse(std::string(callee) + " takes at most " + std::to_string(names.size()) +
           " arguments, found " + std::to_string(positional.size()));
  }
  std::vector<const Value*> bound(names.size(), nullptr);
  for (size_t i = 0; i < positional.size(); ++i) bound[i] = &positional[i];
  for (const auto& [name, value] : named) {
    const auto at = std::find(names.begin(), names.end(), name) - names.begin();
    if (at == static_cast<int64_t>(names.size()) || bound[at] != nullptr) {
      Refuse(std::string(callee) + " does not take an argument `" + name.substr(0, 60) + "` here");
    }
    bound[at] = &value;
  }
  return bound;
}

int64_t IntegerArgument(const Value& value, std::string_view callee) {
  RequireDefined(value);
  if (value.is_integral()) return value.integer();
  Refuse(std::string(callee) + " takes an integer, not " + value.TypeName());
}

const std::string& TextArgument(const Value& value, std::string_view callee) {
  return MarkedArgument(value, callee).text;
}

const MarkedText& MarkedArgument(const Value& value, std::string_view callee) {
  RequireDefined(value);
  if (value.is_string()) return value.marked();
  Refuse(std::string(callee) + " takes a string, not " + value.TypeName());
}

void RequireAscii(std::string_view text, std::string_view callee) {
  if (IsAscii(text)) return;
  RefuseUnsupported(std::string(callee) + " of text beyond ASCII is not supported");
}

Value Attribute(const Value& object, std::string_view name, Budget* budget) {
  RequireDefined(object);
  if (IsForbidden(object, name)) {
    return Value::Undefined("access to attribute '" + std::string(name) + "' of '" +
                            object.TypeName() + "' object is unsafe.");
  }
  Value own = OwnAttribute(object, name);
  if (!own.is_undefined() || !object.is_dict()) return own;
  const Value* item = FindKey(object, Value::String(name), budget);
  return item != nullptr ? *item : own;
}

Value Subscript(const Value& object, const Value& key, Budget* budget) {
  RequireDefined(object);
  if (object.is_dict()) {
    const Value* item = FindKey(object, key, budget);
    if (item != nullptr) return *item;
  }
  if (IsIndexed(object) && key.is_integral()) return ItemAt(object, key.integer(), budget);
  if (!key.is_string()) return NoElement(object);
  if (IsForbidden(object, key.text())) return NoElement(object);
  return OwnAttribute(object, key.text());
}

Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step,
            Budget* budget) {
  RequireDefined(object);
  // jinja2 compiles a slice to Python's own, without the undefined of other subscripts.
  if (!IsIndexed(object)) Refuse("'" + object.TypeName() + "' object cannot be sliced");
  if (!IsBound(start) || !IsBound(stop) || !IsBound(step)) {
    Refuse("slice indices must be integers or None");
  }
  if (object.is_string()) budget->Read(static_cast<int64_t>(object.text().size()));
  const SliceRange range = Resolve(start, stop, step, Length(object));
  if (object.is_string()) return SliceString(object.marked(), range, budget);
  if (object.Is(Kind::kRange)) {
    const RangeBox& whole = object.range();
    RangeBox part;
    part.start = whole.start + range.start * whole.step;
    part.stop = whole.start + range.stop * whole.step;
    // Of the step as it was given: it is printed.
    const int64_t given = step.is_none() ? 1 : step.integer();
    if (__builtin_mul_overflow(whole.step, given, &part.step)) {
      RefuseUnsupported("a range with a step beyond 64 bits is not supported");
    }
    part.length = range.count;
    return Value::Range(part);
  }
  budget->MakeItems(range.count);
  std::vector<Value> items;
  for (int64_t i = 0, at = range.start; i < range.count; ++i, at += range.step) {
    items.push_back(object.items()[static_cast<size_t>(at)]);
  }
  return object.Is(Kind::kList) ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
}

}  // namespace octet::chat
