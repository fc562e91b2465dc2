#include "coordinator/chat/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "coordinator/chat/operators.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

void AppendHex(char32_t value, int digits, std::string* out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out->push_back("0123456789abcdef"[(value >> shift) & 0xF]);
  }
}

// Appends to one text and pays for it as it grows: a list that holds one list many times is short
// in memory and long in print.
class Printer {
 public:
  explicit Printer(Budget* budget) : budget_(budget) {}

  void Repr(const Value& value) {
    Budget::Nested nested(budget_);
    budget_->Step();
    switch (value.kind()) {
      case Kind::kUndefined:
        return Put("Undefined");
      case Kind::kNone:
        return Put("None");
      case Kind::kBool:
        return Put(value.boolean() ? "True" : "False");
      case Kind::kInt:
        return Put(std::to_string(value.integer()));
      case Kind::kFloat:
        return Put(FloatRepr(value.number()));
      case Kind::kString:
        return ReprMarked(value.marked());
      case Kind::kList:
        return Items("[", value.items(), "]");
      case Kind::kTuple:
        return Items("(", value.items(), value.items().size() == 1 ? ",)" : ")");
      case Kind::kView:
        return Items(value.TypeName() + "([", value.items(), "])");
      case Kind::kDict:
        return ReprDict(value);
      case Kind::kRange:
        return ReprRange(value.range());
      case Kind::kNamespace:
        return ReprNamespace(*value.space());
      default:
        Refuse("a " + value.TypeName() + " is printed, expected a value with a text");
    }
  }

  MarkedText Finish() { return {std::move(out_), std::move(given_)}; }

 private:
  void Put(std::string_view text) {
    budget_->Make(static_cast<int64_t>(text.size()));
    out_ += text;
  }

  void Items(std::string_view open, const std::vector<Value>& items, std::string_view close) {
    Put(open);
    bool first = true;
    for (const Value& item : items) {
      if (!first) Put(", ");
      first = false;
      Repr(item);
    }
    Put(close);
  }

  void ReprDict(const Value& value) {
    Put("{");
    bool first = true;
    for (const auto& [key, item] : value.pairs()) {
      if (!first) Put(", ");
      first = false;
      Repr(key);
      Put(": ");
      Repr(item);
    }
    Put("}");
  }

  void ReprNamespace(const Namespace& space) {
    Put("<Namespace {");
    bool first = true;
    for (const auto& [name, item] : space.members) {
      if (!first) Put(", ");
      first = false;
      ReprString(name);
      Put(": ");
      Repr(item);
    }
    Put("}>");
  }

  void ReprRange(const RangeBox& range) {
    std::string text = "range(" + std::to_string(range.start) + ", ";
    text += std::to_string(range.stop);
    if (range.step != 1) text += ", " + std::to_string(range.step);
    Put(text + ")");
  }

  void ReprMarked(const MarkedText& text) {
    const size_t begin = out_.size();
    ReprString(text.text);
    if (!text.given.empty()) given_.Add(begin, out_.size());
  }

  void ReprString(std::string_view text) {
    budget_->Make(static_cast<int64_t>(text.size()));
    const bool double_quotes =
        text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
    const char quote = double_quotes ? '"' : '\'';
    out_.push_back(quote);
    for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) {
      ReprCharacter(CodePointAt(text, i), quote);
    }
    out_.push_back(quote);
  }

  void ReprCharacter(char32_t c, char quote) {
    if (c == '\n') {
      out_ += "\\n";
    } else if (c == '\r') {
      out_ += "\\r";
    } else if (c == '\t') {
      out_ += "\\t";
    } else if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out_.push_back('\\');
      out_.push_back(static_cast<char>(c));
    } else if (IsPrintable(c)) {
      AppendCodePoint(c, &out_);
    } else {
      out_ += c <= 0xFF ? "\\x" : c <= 0xFFFF ? "\\u" : "\\U";
      AppendHex(c, c <= 0xFF ? 2 : c <= 0xFFFF ? 4 : 8, &out_);
    }
  }

  Budget* budget_;
  std::string out_;
  ByteSpans given_;  // of out_
};

// json.dumps.
class JsonPrinter {
 public:
  JsonPrinter(const JsonStyle& style, Budget* budget) : style_(style), budget_(budget) {}

  void Print(const Value& value) {
    Budget::Nested nested(budget_);
    budget_->Step();
    switch (value.kind()) {
      case Kind::kNone:
        return Put("null");
      case Kind::kBool:
        return Put(value.boolean() ? "true" : "false");
      case Kind::kInt:
      case Kind::kFloat:
        return Put(Number(value));
      case Kind::kString:
        return String(value.marked());
      case Kind::kList:
      case Kind::kTuple:
        return Array(value.items());
      case Kind::kDict:
        return Object(value);
      default:
        Refuse("Object of type " + value.TypeName() + " is not JSON serializable");
    }
  }

  MarkedText Finish() { return {std::move(out_), std::move(given_)}; }

 private:
  void Put(std::string_view text) {
    budget_->Make(static_cast<int64_t>(text.size()));
    out_ += text;
  }

  static std::string Number(const Value& value) {
    if (!value.Is(Kind::kFloat)) return std::to_string(value.integer());
    const double number = value.number();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return FloatRepr(number);
  }

  void NewLine() {
    if (!style_.indent) return;
    Put("\n");
    for (int i = 0; i < level_; ++i) Put(*style_.indent);
  }

  void Array(const std::vector<Value>& items) {
    if (items.empty()) return Put("[]");
    Put("[");
    ++level_;
    bool first = true;
    for (const Value& item : items) {
      if (!first) Put(style_.item_separator);
      first = false;
      NewLine();
      Print(item);
    }
    --level_;
    NewLine();
    Put("]");
  }

  void Object(const Value& value) {
    auto pairs = value.pairs();
    if (pairs.empty()) return Put("{}");
    if (style_.sort_keys) {
      std::stable_sort(pairs.begin(), pairs.end(), [this](const auto& a, const auto& b) {
        return Less(a.first, b.first, budget_);
      });
    }
    Put("{");
    ++level_;
    bool first = true;
    for (const auto& [key, item] : pairs) {
      if (!first) Put(style_.item_separator);
      first = false;
      NewLine();
      Key(key);
      Put(style_.key_separator);
      Print(item);
    }
    --level_;
    NewLine();
    Put("}");
  }

  void Key(const Value& key) {
    if (key.is_string()) return String(key.marked());
    if (!key.is_number() && !key.is_none()) {
      Refuse("keys must be str, int, float, bool or None, not " + key.TypeName());
    }
    Put("\"");
    Print(key);
    Put("\"");
  }

  void String(const MarkedText& marked) {
    const std::string_view text = marked.text;
    const size_t begin = out_.size();
    budget_->Make(marked.cost_bytes());
    out_.push_back('"');
    for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) {
      Character(CodePointAt(text, i));
    }
    out_.push_back('"');
    if (!marked.given.empty()) given_.Add(begin, out_.size());
  }

  void Character(char32_t c) {
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t at = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (at != std::string_view::npos) {
      out_.push_back('\\');
      out_.push_back(kLetters[at]);
    } else if (c >= 0x10000 && style_.ascii) {
      Escape(0xD800 + ((c - 0x10000) >> 10));
      Escape(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else if (c < 0x20 || (c > 0x7E && style_.ascii)) {
      // Python leaves DEL as it is even in ASCII.
      c == 0x7F ? out_.push_back('\x7F') : Escape(c);
    } else {
      AppendCodePoint(c, &out_);
    }
  }

  void Escape(char32_t c) {
    out_ += "\\u";
    AppendHex(c, 4, &out_);
  }

  const JsonStyle& style_;
  Budget* budget_;
  std::string out_;
  ByteSpans given_;  // of out_
  int level_ = 0;
};

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, end.ptr - buffer);
  const size_t e = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(e + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(text);  // 1e+16, 1.5e-05: as Python
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  std::string out = negative ? "-" : "";
  if (exponent < 0) return out + "0." + std::string(-exponent - 1, '0') + digits;
  while (static_cast<int>(digits.size()) < exponent + 2) digits.push_back('0');
  return out + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

MarkedText Str(const Value& value, Budget* budget) {
  if (value.is_string()) return value.marked();
  if (value.is_undefined()) return {};
  return Repr(value, budget);
}

MarkedText Repr(const Value& value, Budget* budget) {
  Printer printer(budget);
  printer.Repr(value);
  return printer.Finish();
}

MarkedText JsonText(const Value& value, const JsonStyle& style, Budget* budget) {
  JsonPrinter printer(style, budget);
  printer.Print(value);
  return printer.Finish();
}

}  // namespace octet::chat
