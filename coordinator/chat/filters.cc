// The filters of texts, numbers and single values; those of sequences are in sequence_filters.cc.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/print.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

// A filter that is the string's method of the same name.
Value MethodOfText(const Value& subject, std::string_view method, const Arguments& arguments,
                   Budget* budget) {
  return CallMethod(Value::String(Str(subject, budget)), method, arguments, budget);
}

Value Upper(const Value& subject, const Arguments& arguments, Budget* budget) {
  return MethodOfText(subject, "upper", arguments, budget);
}
Value Lower(const Value& subject, const Arguments& arguments, Budget* budget) {
  return MethodOfText(subject, "lower", arguments, budget);
}
Value Capitalize(const Value& subject, const Arguments& arguments, Budget* budget) {
  return MethodOfText(subject, "capitalize", arguments, budget);
}
Value Trim(const Value& subject, const Arguments& arguments, Budget* budget) {
  return MethodOfText(subject, "strip", arguments, budget);
}

// Unlike str.title, only these characters begin a new word: - ( { [ < and white space.
Value Title(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("title", {});
  const MarkedText marked = Str(subject, budget);
  const std::string& text = marked.text;
  budget->Make(8 * static_cast<int64_t>(text.size()));
  std::string out;
  bool begins_word = true;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = CodePointAt(text, i);
    const size_t end = i + CodePointBytes(text, i);
    const auto character = std::string_view(text).substr(i, end - i);
    out += begins_word ? UpperOrRefuse(character) : LowerOrRefuse(character);
    begins_word = IsSpace(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                                 std::string_view::npos);
    i = end;
  }
  return Value::String(MarkedText::Derived(std::move(out), marked));
}

Value ReplaceFilter(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("replace", {"old", "new", "count"});
  if (bound[0] == nullptr || bound[1] == nullptr) Refuse("replace lacks an argument");
  Arguments texts;
  for (int i = 0; i < 2; ++i) texts.positional.push_back(Value::String(Str(*bound[i], budget)));
  if (bound[2] != nullptr) texts.positional.push_back(*bound[2]);
  return MethodOfText(subject, "replace", texts, budget);
}

Value String(const Value& subject, const Arguments& arguments, Budget* budget) {
  arguments.Bind("string", {});
  return subject.is_string() ? subject : Value::String(Str(subject, budget));
}

// There is no autoescape here, so that a safe text is a text.
Value Safe(const Value& subject, const Arguments& arguments, Budget* budget) {
  return String(subject, arguments, budget);
}

Value Default(const Value& subject, const Arguments& arguments, Budget*) {
  const auto bound = arguments.Bind("default", {"default_value", "boolean"});
  const bool also_false = bound[1] != nullptr && Truth(*bound[1]);
  if (!subject.is_undefined() && (!also_false || Truth(subject))) return subject;
  return bound[0] != nullptr ? *bound[0] : Value::String("");
}

Value ToJson(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound =
      arguments.Bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  MarkedText separators;  // what of the layout came as text
  style.ascii = bound[0] != nullptr && Truth(*bound[0]);
  style.sort_keys = bound[3] != nullptr && Truth(*bound[3]);
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    if (bound[1]->is_string()) {
      style.indent = bound[1]->text();
      separators.Append(bound[1]->marked());
    } else {
      const int64_t spaces = std::max<int64_t>(0, IntegerArgument(*bound[1], "tojson"));
      budget->Make(spaces);
      style.indent = std::string(static_cast<size_t>(spaces), ' ');
    }
    style.item_separator = ",";
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    if (!bound[2]->has_items() || bound[2]->items().size() != 2) {
      Refuse("tojson takes two separators");
    }
    style.item_separator = TextArgument(bound[2]->items()[0], "tojson");
    style.key_separator = TextArgument(bound[2]->items()[1], "tojson");
    for (const Value& separator : bound[2]->items()) separators.Append(separator.marked());
  }
  MarkedText text = JsonText(subject, style, budget);
  if (!separators.given.empty()) text = MarkedText::Derived(std::move(text.text), separators);
  return Value::String(std::move(text));
}

Value Indent(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("indent", {"width", "first", "blank"});
  MarkedText indention{std::string(4, ' '), {}};
  if (bound[0] != nullptr && bound[0]->is_string()) {
    indention = bound[0]->marked();
  } else if (bound[0] != nullptr) {
    const int64_t width = std::max<int64_t>(0, IntegerArgument(*bound[0], "indent"));
    budget->Make(width);
    indention.text = std::string(static_cast<size_t>(width), ' ');
  }
  const bool first = bound[1] != nullptr && Truth(*bound[1]);
  const bool blank = bound[2] != nullptr && Truth(*bound[2]);
  // jinja2 adds a line end before it splits, so that a trailing one is kept.
  MarkedText text = MarkedArgument(subject, "indent");
  text.Append("\n");
  budget->Make(text.cost_bytes() * 16);
  MarkedText out = first ? indention : MarkedText();
  bool at_first = true;
  for (const std::string_view line : SplitLines(text.text, false)) {
    budget->Make(static_cast<int64_t>(line.size()) + indention.cost_bytes());
    if (!at_first) out.Append("\n");
    if (!at_first && (blank || !line.empty())) out.Append(indention);
    at_first = false;
    out.Append(text.Part(line));
  }
  return Value::String(std::move(out));
}

// A number's text without what Python allows and from_chars does not: space around it, a plus, and
// an underscore between digits.
std::string NumberText(std::string_view text) {
  text = StripLeft(StripRight(text, {}), {});
  // Other scripts have digits, too.
  RequireAscii(text, "the number of a text");
  if (text.starts_with("+") && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  std::string out;
  const auto is_digit = [&](size_t i) {
    return i < text.size() && text[i] >= '0' && text[i] <= '9';
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_' || i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) out.push_back(text[i]);
  }
  return out;
}

// int() of a text, or nothing.
std::optional<int64_t> ParseInteger(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    RefuseUnsupported("an integer beyond 64 bits is not supported");
  }
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// float() of a text, or nothing.
std::optional<double> ParseFloat(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    return std::strtod(text.c_str(), nullptr);
  }
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<int64_t> Truncated(double value) {
  if (!std::isfinite(value)) return {};
  if (std::fabs(value) >= 9.2e18) RefuseUnsupported("an integer beyond 64 bits is not supported");
  return static_cast<int64_t>(value);
}

Value ToInt(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("int", {"default", "base"});
  if (bound[1] != nullptr && !Equal(*bound[1], Value::Int(10), budget)) {
    RefuseUnsupported("int with a base other than 10 is not supported");
  }
  RequireDefined(subject);
  std::optional<int64_t> value;
  if (subject.is_integral()) value = subject.integer();
  if (subject.Is(Kind::kFloat)) value = Truncated(subject.number());
  if (subject.is_string()) {
    budget->Read(static_cast<int64_t>(subject.text().size()));
    const std::string text = NumberText(subject.text());
    value = ParseInteger(text);
    if (!value) {
      if (const auto real = ParseFloat(text)) value = Truncated(*real);
    }
  }
  if (value) return Value::Int(*value);
  return bound[0] != nullptr ? *bound[0] : Value::Int(0);
}

Value ToFloat(const Value& subject, const Arguments& arguments, Budget* budget) {
  const auto bound = arguments.Bind("float", {"default"});
  RequireDefined(subject);
  if (subject.is_number()) return Value::Float(subject.number());
  if (subject.is_string()) {
    budget->Read(static_cast<int64_t>(subject.text().size()));
    if (const auto value = ParseFloat(NumberText(subject.text()))) return Value::Float(*value);
  }
  return bound[0] != nullptr ? *bound[0] : Value::Float(0);
}

// Python's round: the exact decimal value, halves to even.
double RoundHalfEven(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 300) return value;
  if (digits >= 0) {
    char text[700];
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
  }
  if (digits < -300) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

Value Round(const Value& subject, const Arguments& arguments, Budget*) {
  const auto bound = arguments.Bind("round", {"precision", "method"});
  const int64_t digits = bound[0] != nullptr ? IntegerArgument(*bound[0], "round") : 0;
  const std::string method = bound[1] != nullptr ? TextArgument(*bound[1], "round") : "common";
  RequireDefined(subject);
  if (!subject.is_number()) Refuse("round takes a number, not " + subject.TypeName());
  if (method == "common") {
    if (subject.Is(Kind::kFloat)) return Value::Float(RoundHalfEven(subject.number(), digits));
    if (digits < 0) RefuseUnsupported("round of an integer to tens is not supported");
    return Value::Int(subject.integer());
  }
  if (method != "ceil" && method != "floor") Refuse("method must be common, ceil or floor");
  // jinja2 computes this way too. Its 10 ** precision is an integer where it can be.
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = subject.number() * unit;
  if (!std::isfinite(scaled)) Refuse("round takes a finite number");
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value Abs(const Value& subject, const Arguments& arguments, Budget*) {
  arguments.Bind("abs", {});
  if (subject.Is(Kind::kFloat)) return Value::Float(std::fabs(subject.number()));
  if (!subject.is_integral()) {
    RequireDefined(subject);
    Refuse("abs takes a number, not " + subject.TypeName());
  }
  return subject.integer() < 0 ? Negate(subject) : Value::Int(subject.integer());
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};
constexpr NamedFilter kFilters[] = {
    {"upper", Upper},   {"lower", Lower},   {"capitalize", Capitalize},
    {"title", Title},   {"trim", Trim},     {"replace", ReplaceFilter},
    {"string", String}, {"safe", Safe},     {"default", Default},
    {"d", Default},     {"tojson", ToJson}, {"indent", Indent},
    {"int", ToInt},     {"float", ToFloat}, {"round", Round},
    {"abs", Abs},
};

}  // namespace

Filter FindFilter(std::string_view name) {
  for (const NamedFilter& candidate : kFilters) {
    if (candidate.name == name) return candidate.filter;
  }
  return FindSequenceFilter(name);
}

}  // namespace octet::chat
