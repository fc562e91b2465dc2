#include "coordinator/chat/lexer.h"

#include <algorithm>

#include "coordinator/chat/error.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

constexpr size_t kNotFound = std::string_view::npos;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// jinja2 knows no other line end than \n, and drops one at the end.
std::string WithUnixLineEnds(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      text.push_back('\n');
    } else {
      text.push_back(source[i]);
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(WithUnixLineEnds(source)) {}

  std::vector<Token> Run() {
    while (at_ < text_.size()) {
      const size_t tag = NextTag(at_);
      if (tag == kNotFound) {
        Emit(TokenKind::kData, text_.substr(at_));
        Advance(text_.size());
        break;
      }
      LexTag(tag);
    }
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Emit(TokenKind kind, std::string text) {
    if (kind == TokenKind::kData && text.empty()) return;
    tokens_.push_back({kind, std::move(text), line_});
  }

  void Advance(size_t to) {
    line_ += static_cast<int32_t>(std::count(text_.begin() + static_cast<int64_t>(at_),
                                             text_.begin() + static_cast<int64_t>(to), '\n'));
    at_ = to;
  }

  [[noreturn]] void Fail(const std::string& what) const {
    Refuse("line " + std::to_string(line_) + ": " + what);
  }

  bool StartsWith(std::string_view part) const {
    return std::string_view(text_).substr(at_, part.size()) == part;
  }

  size_t NextTag(size_t from) const {
    for (size_t at = text_.find('{', from); at != kNotFound; at = text_.find('{', at + 1)) {
      const char next = at + 1 < text_.size() ? text_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return kNotFound;
  }

  // What remains of the data before a tag. `sign` is the character after its opening.
  std::string_view DataBefore(size_t tag, char opening, char sign) const {
    const auto data = std::string_view(text_).substr(at_, tag - at_);
    if (sign == '-') return StripRight(data, {});
    if (sign == '+' || opening == '{') return data;
    const size_t line_end = data.rfind('\n');
    const size_t line_begin = line_end == kNotFound ? 0 : line_end + 1;
    if (line_begin == 0 && !at_line_start_) return data;
    const bool blank = StripLeft(data.substr(line_begin), {}).empty();
    return blank ? data.substr(0, line_begin) : data;
  }

  void LexTag(size_t tag) {
    const char opening = text_[tag + 1];
    const char after = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    const bool signed_tag = after == '-' || after == '+';
    Emit(TokenKind::kData, std::string(DataBefore(tag, opening, signed_tag ? after : '\0')));
    Advance(tag + (signed_tag ? 3 : 2));
    if (opening == '#') return LexComment();
    if (opening == '%' && LexRaw()) return;
    Emit(opening == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    LexInside(opening);
  }

  void LexComment() {
    const size_t end = text_.find("#}", at_);
    if (end == kNotFound) Fail("a comment has no end, expected `#}`");
    const char sign = end > at_ ? text_[end - 1] : '\0';
    Advance(end + 2);
    AfterTag(sign, /*trims_line_end=*/true);
  }

  // The space after a tag's end that belongs to it.
  void AfterTag(char sign, bool trims_line_end) {
    const size_t begin = at_;
    if (sign == '-') {
      const auto rest = std::string_view(text_).substr(at_);
      Advance(at_ + rest.size() - StripLeft(rest, {}).size());
    } else if (sign != '+' && trims_line_end && StartsWith("\n")) {
      Advance(at_ + 1);
    }
    at_line_start_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  size_t SkipSpace(size_t from) const {
    const auto rest = std::string_view(text_).substr(from);
    return from + rest.size() - StripLeft(rest, {}).size();
  }

  // `word %}` at `from`: the offset behind it, and the sign before its end.
  size_t EndOfWordTag(size_t from, std::string_view word, char* sign) const {
    from = SkipSpace(from);
    if (std::string_view(text_).substr(from, word.size()) != word) return kNotFound;
    from = SkipSpace(from + word.size());
    *sign = from < text_.size() && (text_[from] == '-' || text_[from] == '+') ? text_[from] : '\0';
    if (*sign != '\0') ++from;
    return std::string_view(text_).substr(from, 2) == "%}" ? from + 2 : kNotFound;
  }

  // {% raw %} ... {% endraw %}
  bool LexRaw() {
    char sign = '\0';
    const size_t body = EndOfWordTag(at_, "raw", &sign);
    if (body == kNotFound || sign == '+') return false;
    Advance(body);
    // jinja2 trims no line end after raw, and strips all space after `-%}`.
    AfterTag(sign, /*trims_line_end=*/false);
    for (size_t tag = text_.find("{%", at_); tag != kNotFound; tag = text_.find("{%", tag + 2)) {
      const char after = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      const bool signed_tag = after == '-' || after == '+';
      const size_t end = EndOfWordTag(tag + (signed_tag ? 3 : 2), "endraw", &sign);
      if (end == kNotFound) continue;
      Emit(TokenKind::kData, std::string(DataBefore(tag, '%', signed_tag ? after : '\0')));
      Advance(end);
      AfterTag(sign, /*trims_line_end=*/true);
      return true;
    }
    Fail("raw has no end, expected `{% endraw %}`");
  }

  // Everything up to the end of the tag.
  void LexInside(char opening) {
    const std::string_view close = opening == '{' ? "}}" : "%}";
    std::string open_brackets;
    while (true) {
      Advance(SkipSpace(at_));
      if (at_ >= text_.size()) Fail("a tag has no end, expected `" + std::string(close) + "`");
      if (open_brackets.empty() && LexClose(opening, close)) return;
      LexToken(&open_brackets);
    }
  }

  bool LexClose(char opening, std::string_view close) {
    const char c = text_[at_];
    const bool is_signed = c == '-' || (c == '+' && opening == '%');
    if (std::string_view(text_).substr(at_ + (is_signed ? 1 : 0), 2) != close) return false;
    Advance(at_ + (is_signed ? 3 : 2));
    Emit(opening == '{' ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
    AfterTag(is_signed ? c : '\0', opening == '%');
    return true;
  }

  void LexToken(std::string* open_brackets) {
    const char c = text_[at_];
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < text_.size() && (IsNameStart(text_[end]) || IsDigit(text_[end]))) ++end;
      Emit(TokenKind::kName, text_.substr(at_, end - at_));
      return Advance(end);
    }
    if (IsDigit(c)) return LexNumber();
    if (c == '\'' || c == '"') return LexString();
    for (const std::string_view op : {"**", "//", "==", "!=", ">=", "<="}) {
      if (!StartsWith(op)) continue;
      Emit(TokenKind::kOperator, std::string(op));
      return Advance(at_ + 2);
    }
    if (std::string_view("+-*/%~<>=.:|,;()[]{}").find(c) == kNotFound) {
      const auto found = text_.substr(at_, CodePointBytes(text_, at_));
      Fail("found `" + found + "`, expected an expression of ASCII names and operators");
    }
    TrackBracket(c, open_brackets);
    Emit(TokenKind::kOperator, std::string(1, c));
    Advance(at_ + 1);
  }

  void TrackBracket(char c, std::string* open_brackets) const {
    if (c == '(') open_brackets->push_back(')');
    if (c == '[') open_brackets->push_back(']');
    if (c == '{') open_brackets->push_back('}');
    if (c != ')' && c != ']' && c != '}') return;
    if (open_brackets->empty() || open_brackets->back() != c) {
      Fail(std::string("found `") + c + "`, expected " +
           (open_brackets->empty() ? "no closing bracket"
                                   : std::string("`") + open_brackets->back() + "`"));
    }
    open_brackets->pop_back();
  }

  size_t EndOfDigits(size_t from) const {
    while (from < text_.size() &&
           (IsDigit(text_[from]) ||
            (text_[from] == '_' && from + 1 < text_.size() && IsDigit(text_[from + 1])))) {
      ++from;
    }
    return from;
  }

  void LexNumber() {
    size_t end = EndOfDigits(at_);
    bool is_float = false;
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';  // the 1 and 2 of a.1.2
    if (!after_dot && end + 1 < text_.size() && text_[end] == '.' && IsDigit(text_[end + 1])) {
      is_float = true;
      end = EndOfDigits(end + 1);
    }
    if (!after_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      size_t digits = end + 1;
      if (digits < text_.size() && (text_[digits] == '+' || text_[digits] == '-')) ++digits;
      if (digits < text_.size() && IsDigit(text_[digits])) {
        is_float = true;
        end = EndOfDigits(digits);
      }
    }
    if (end < text_.size() && IsNameStart(text_[end])) {
      Fail("found `" + text_.substr(at_, end + 1 - at_) + "`, expected a decimal number");
    }
    std::string digits = text_.substr(at_, end - at_);
    std::erase(digits, '_');
    if (!is_float && digits[0] == '0' && digits.find_first_not_of('0') != kNotFound) {
      Fail("found `" + digits.substr(0, 60) + "`, expected an integer without leading zeros");
    }
    Emit(is_float ? TokenKind::kFloat : TokenKind::kInteger, digits);
    Advance(end);
  }

  void LexString() {
    const char quote = text_[at_];
    std::string out;
    size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != quote) {
      if (text_[i] == '\\' && i + 1 < text_.size()) {
        i = Unescape(i + 1, &out);
      } else {
        out.push_back(text_[i++]);
      }
    }
    if (i >= text_.size()) Fail("a string has no end, expected `" + std::string(1, quote) + "`");
    Emit(TokenKind::kString, std::move(out));
    Advance(i + 1);
  }

  // One escape sequence of Python whose letter is at `i`; gives the offset behind it.
  size_t Unescape(size_t i, std::string* out) const {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[i];
    if (const size_t at = kLetters.find(c); at != kNotFound) {
      out->push_back(kMeanings[at]);
      return i + 1;
    }
    if (c == '\n') return i + 1;
    if (c >= '0' && c <= '7') {
      char32_t value = 0;
      size_t end = i;
      while (end < text_.size() && end < i + 3 && text_[end] >= '0' && text_[end] <= '7') {
        value = value * 8 + static_cast<char32_t>(text_[end++] - '0');
      }
      AppendCodePoint(value, out);
      return end;
    }
    if (c == 'x') return UnescapeHex(i + 1, 2, out);
    if (c == 'u') return UnescapeHex(i + 1, 4, out);
    if (c == 'U') return UnescapeHex(i + 1, 8, out);
    if (c == 'N') Fail("found \\N in a string, expected an escape by number");
    out->push_back('\\');  // as Python: an escape it does not know is text
    return i;
  }

  size_t UnescapeHex(size_t begin, size_t digits, std::string* out) const {
    uint64_t value = 0;
    for (size_t i = begin; i < begin + digits; ++i) {
      const char c = i < text_.size() ? text_[i] : '\0';
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
      if (digit == kNotFound || (!IsDigit(c) && !IsNameStart(c))) {
        Fail("an escape in a string is cut short, expected " + std::to_string(digits) +
             " hexadecimal digits");
      }
      value = value * 16 + digit;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      Fail("an escape in a string is no character, expected a Unicode scalar value");
    }
    AppendCodePoint(static_cast<char32_t>(value), out);
    return begin + digits;
  }

  std::string text_;
  size_t at_ = 0;
  int32_t line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string Token::Describe() const {
  switch (kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kPrintBegin:
      return "`{{`";
    case TokenKind::kPrintEnd:
      return "`}}`";
    case TokenKind::kBlockBegin:
      return "`{%`";
    case TokenKind::kBlockEnd:
      return "`%}`";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return "`" + text.substr(0, 60) + "`";
  }
}

std::vector<Token> Lex(std::string_view source) { return Lexer(source).Run(); }

}  // namespace octet::chat
