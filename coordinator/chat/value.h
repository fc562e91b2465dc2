// A value as a template sees it: Python's objects, as far as chat templates meet them. Strings,
// lists, tuples and dicts never change once made, which is also what jinja2's immutable sandbox
// allows. They hold each other by reference counts; only a namespace can change, and the
// interpreter owns it, so that no cycle of counts can arise. One rendering, one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/chat/error.h"
#include "coordinator/chat/marked_text.h"

namespace octet::chat {

class Value;
struct Namespace;
struct Scope;
struct Statement;

enum class Kind : uint8_t {
  kUndefined,  // its text says why, for the message of a use that is an error
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kView,      // dict.keys(), values(), items()
  kIterator,  // a generator: what it holds is seen once
  kRange,
  kNamespace,
  kLoop,      // `loop` inside a for
  kFunction,  // a global, by its name
  kMethod,    // a method of a string or dict, not called yet
  kMacro,
};

// What a value points to. `depth` is the nesting of values below and including it.
struct Box {
  int32_t depth = 0;
};
struct StringBox : Box {
  MarkedText marked;
};
struct ListBox : Box {
  std::vector<Value> items;
};
struct DictBox : Box {
  std::vector<std::pair<Value, Value>> items;
};
struct IteratorBox : Box {
  std::vector<Value> items;
  size_t next = 0;
};
struct RangeBox : Box {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
  int64_t length = 0;
};
struct LoopBox;
struct MethodBox;
struct MacroBox : Box {
  const Statement* definition = nullptr;
  std::weak_ptr<Scope> scope;  // the names it sees
};

class Value {
 public:
  Value() = default;  // undefined
  static Value Undefined(std::string why);
  static Value None();
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  static Value String(MarkedText text);
  // A text of which no byte came with the request.
  static Value String(std::string text) { return String(MarkedText{std::move(text), {}}); }
  static Value String(std::string_view text) { return String(std::string(text)); }
  static Value String(const char* text) { return String(std::string(text)); }
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  // REQUIRES: no two equal keys.
  static Value Dict(std::vector<std::pair<Value, Value>> items);
  static Value View(std::string_view method, std::vector<Value> items);
  static Value Iterator(std::vector<Value> items);
  static Value Range(const RangeBox& range);
  static Value OfNamespace(Namespace* space);
  static Value Loop(std::shared_ptr<LoopBox> loop);
  static Value Function(std::string_view name);
  static Value Method(Value self, std::string_view name);
  static Value Macro(const Statement* definition, std::weak_ptr<Scope> scope);
  // Refuses strings that are not UTF-8, integers beyond 64 bits and nesting beyond kValueDepthMax.
  // Of a request, all strings are given ones, but for the names of roles.
  enum class Origin : uint8_t { kModel, kRequest };
  static Value FromJson(const nlohmann::ordered_json& json, Origin origin);

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_dict() const { return kind_ == Kind::kDict; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  // In Python a bool is an int.
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  // A list, tuple or view: items() may be used.
  bool has_items() const {
    return kind_ == Kind::kList || kind_ == Kind::kTuple || kind_ == Kind::kView;
  }

  // REQUIRES: of each, the kind that it names.
  bool boolean() const { return scalar_.integer != 0; }
  int64_t integer() const { return scalar_.integer; }  // of an int or bool
  double number() const { return kind_ == Kind::kFloat ? scalar_.real : double(scalar_.integer); }
  const MarkedText& marked() const { return As<StringBox>().marked; }
  const std::string& text() const { return marked().text; }
  const std::vector<Value>& items() const { return As<ListBox>().items; }
  const std::vector<std::pair<Value, Value>>& pairs() const { return As<DictBox>().items; }
  const RangeBox& range() const { return As<RangeBox>(); }
  const LoopBox& loop() const;
  const MethodBox& method() const;
  const MacroBox& macro() const { return As<MacroBox>(); }
  Namespace* space() const { return scalar_.space; }
  // The next items of an iterator, at most `count_max`, which it no longer has afterwards.
  std::vector<Value> TakeFromIterator(size_t count_max = SIZE_MAX) const;
  const void* identity() const { return box_.get(); }

  int32_t depth() const { return box_ ? box_->depth : 0; }
  std::string why_undefined() const;
  // Python's name of the type: "str", "NoneType", ...
  std::string TypeName() const;

 private:
  template <typename T>
  const T& As() const {
    return *static_cast<const T*>(box_.get());
  }

  Kind kind_ = Kind::kUndefined;
  union {
    int64_t integer = 0;
    double real;
    Namespace* space;
  } scalar_;
  std::shared_ptr<Box> box_;
};

struct LoopBox : Box {
  std::vector<Value> items;
  int64_t index0 = 0;
  int32_t loops_outside = 0;
};
struct MethodBox : Box {
  Value self;
  std::string name;
};
struct Namespace {
  std::vector<std::pair<std::string, Value>> members;
};

inline const LoopBox& Value::loop() const { return As<LoopBox>(); }
inline const MethodBox& Value::method() const { return As<MethodBox>(); }

}  // namespace octet::chat
