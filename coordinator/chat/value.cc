#include "coordinator/chat/value.h"

#include <algorithm>
#include <array>
#include <limits>

#include "coordinator/chat/limits.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

int32_t DeeperThan(int32_t depth) {
  if (depth >= kValueDepthMax) RefuseTooMuch("values are nested too deep", kValueDepthMax);
  return depth + 1;
}

int32_t DepthOf(const std::vector<Value>& items) {
  int32_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return DeeperThan(depth);
}

std::shared_ptr<ListBox> BoxOf(std::vector<Value> items) {
  auto box = std::make_shared<ListBox>();
  box->depth = DepthOf(items);
  box->items = std::move(items);
  return box;
}

// The roles of the protocols in use. Templates make tokens of them ('<|' + role + '|>'), which the
// words of a request could not become if they were given ones.
constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                    "assistant", "tool",      "function"};

bool IsRole(const std::string& key, const nlohmann::ordered_json& value) {
  return key == "role" && value.is_string() &&
         std::find(kRoles.begin(), kRoles.end(), value.get_ref<const std::string&>()) !=
             kRoles.end();
}

Value CheckedString(const std::string& text, Value::Origin origin) {
  if (!IsValidUtf8(text)) Refuse("a string of the messages is not valid UTF-8");
  const bool given = origin == Value::Origin::kRequest;
  return Value::String(MarkedText{text, ByteSpans::Whole(given ? text.size() : 0)});
}

Value FromJsonAtDepth(const nlohmann::ordered_json& json, Value::Origin origin, int32_t depth) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
        Refuse("an integer of the messages is " + json.dump() + ", expected at most 64 bits");
      }
      return Value::Int(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value::Float(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return CheckedString(json.get_ref<const std::string&>(), origin);
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      const int32_t below = DeeperThan(depth);
      for (const auto& item : json) items.push_back(FromJsonAtDepth(item, origin, below));
      return Value::List(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      const int32_t below = DeeperThan(depth);
      for (const auto& [key, item] : json.items()) {
        const auto of_item = IsRole(key, item) ? Value::Origin::kModel : origin;
        items.emplace_back(CheckedString(key, origin), FromJsonAtDepth(item, of_item, below));
      }
      return Value::Dict(std::move(items));
    }
    default:
      return Value::None();
  }
}

}  // namespace

Value Value::Undefined(std::string why) {
  Value value = String(std::move(why));
  value.kind_ = Kind::kUndefined;
  return value;
}

Value Value::None() {
  Value value;
  value.kind_ = Kind::kNone;
  return value;
}

Value Value::Bool(bool boolean) {
  Value value;
  value.kind_ = Kind::kBool;
  value.scalar_.integer = boolean ? 1 : 0;
  return value;
}

Value Value::Int(int64_t integer) {
  Value value;
  value.kind_ = Kind::kInt;
  value.scalar_.integer = integer;
  return value;
}

Value Value::Float(double real) {
  Value value;
  value.kind_ = Kind::kFloat;
  value.scalar_.real = real;
  return value;
}

Value Value::String(MarkedText text) {
  auto box = std::make_shared<StringBox>();
  box->marked = std::move(text);
  Value value;
  value.kind_ = Kind::kString;
  value.box_ = std::move(box);
  return value;
}

Value Value::List(std::vector<Value> items) {
  Value value;
  value.kind_ = Kind::kList;
  value.box_ = BoxOf(std::move(items));
  return value;
}

Value Value::Tuple(std::vector<Value> items) {
  Value value = List(std::move(items));
  value.kind_ = Kind::kTuple;
  return value;
}

Value Value::Dict(std::vector<std::pair<Value, Value>> items) {
  auto box = std::make_shared<DictBox>();
  for (const auto& [key, item] : items) {
    box->depth = std::max({box->depth, key.depth(), item.depth()});
  }
  box->depth = DeeperThan(box->depth);
  box->items = std::move(items);
  Value value;
  value.kind_ = Kind::kDict;
  value.box_ = std::move(box);
  return value;
}

Value Value::View(std::string_view method, std::vector<Value> items) {
  Value value = List(std::move(items));
  value.kind_ = Kind::kView;
  value.scalar_.integer = method == "keys" ? 0 : method == "values" ? 1 : 2;
  return value;
}

Value Value::Iterator(std::vector<Value> items) {
  auto box = std::make_shared<IteratorBox>();
  box->depth = DepthOf(items);
  box->items = std::move(items);
  Value value;
  value.kind_ = Kind::kIterator;
  value.box_ = std::move(box);
  return value;
}

Value Value::Range(const RangeBox& range) {
  auto box = std::make_shared<RangeBox>(range);
  Value value;
  value.kind_ = Kind::kRange;
  value.box_ = std::move(box);
  return value;
}

Value Value::OfNamespace(Namespace* space) {
  Value value;
  value.kind_ = Kind::kNamespace;
  value.scalar_.space = space;
  return value;
}

Value Value::Loop(std::shared_ptr<LoopBox> loop) {
  loop->depth = DepthOf(loop->items);
  Value value;
  value.kind_ = Kind::kLoop;
  value.box_ = std::move(loop);
  return value;
}

Value Value::Function(std::string_view name) {
  Value value = String(name);
  value.kind_ = Kind::kFunction;
  return value;
}

Value Value::Method(Value self, std::string_view name) {
  auto box = std::make_shared<MethodBox>();
  box->depth = DeeperThan(self.depth());
  box->self = std::move(self);
  box->name = name;
  Value value;
  value.kind_ = Kind::kMethod;
  value.box_ = std::move(box);
  return value;
}

Value Value::Macro(const Statement* definition, std::weak_ptr<Scope> scope) {
  auto box = std::make_shared<MacroBox>();
  box->definition = definition;
  box->scope = std::move(scope);
  Value value;
  value.kind_ = Kind::kMacro;
  value.box_ = std::move(box);
  return value;
}

Value Value::FromJson(const nlohmann::ordered_json& json, Origin origin) {
  return FromJsonAtDepth(json, origin, 0);
}

std::vector<Value> Value::TakeFromIterator(size_t count_max) const {
  auto& box = *static_cast<IteratorBox*>(box_.get());
  const size_t begin = box.next;
  box.next += std::min(count_max, box.items.size() - begin);
  return {box.items.begin() + static_cast<int64_t>(begin),
          box.items.begin() + static_cast<int64_t>(box.next)};
}

std::string Value::why_undefined() const {
  return box_ ? text() : std::string("the value is undefined");
}

std::string Value::TypeName() const {
  switch (kind_) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kView:
      return scalar_.integer == 0   ? "dict_keys"
             : scalar_.integer == 1 ? "dict_values"
                                    : "dict_items";
    case Kind::kIterator:
      return "generator";
    case Kind::kRange:
      return "range";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kFunction:
      return "function";
    case Kind::kMethod:
      return "method";
    case Kind::kMacro:
      return "Macro";
  }
  return "object";
}

}  // namespace octet::chat
