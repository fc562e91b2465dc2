// The rewriting of a split pattern from Oniguruma's spelling to PCRE2's. A scanner over the few
// constructs that split patterns use; what it does not know, it refuses.
#include <algorithm>
#include <array>
#include <string>

#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/split_pattern.h"

namespace octet::tokenizer {
namespace {

constexpr std::string_view kSupported =
    "supported are literals, classes, groups, look-around, quantifiers, (?i: ), \\s \\S \\d \\D "
    "\\r "
    "\\n \\t \\p{..} \\P{..} \\x{..} and \\u....";

constexpr std::array<std::string_view, 8> kOpenings = {
    "(?i:", "(?-i:", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};

bool IsOneOf(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

bool IsHex(char c) { return IsOneOf(c, "0123456789abcdefABCDEF"); }

bool IsLetterOrDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view in) : in_(in) {}

  Result<std::string> Run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      Status status;
      if (c == '\\') {
        status = Escape();
      } else if (in_class_) {
        status = InClass(c);
      } else {
        status = OutsideClass(c);
      }
      OCTET_RETURN_IF_ERROR(status);
    }
    return std::move(out_);
  }

 private:
  Status Refuse(size_t length) const {
    return Unimplemented("split pattern: `" + std::string(in_.substr(at_, length)) + "` at byte " +
                         std::to_string(at_) + " is not supported; " + std::string(kSupported));
  }

  void Copy(size_t length) {
    out_.append(in_.substr(at_, length));
    at_ += length;
  }

  bool At(std::string_view what) const { return in_.substr(at_, what.size()) == what; }

  Status InClass(char c) {
    // Oniguruma nests and intersects classes; PCRE2 takes the same characters literally.
    if (c == '[' || At("&&")) return Refuse(2);
    if (c == ']') in_class_ = false;
    Copy(1);
    return {};
  }

  Status OutsideClass(char c) {
    // Oniguruma lets ^ and $ match at every line, and spells dot-all (?m).
    if (c == '^' || c == '$') return Refuse(1);
    if (c == '(') return Group();
    if (c == '{') return Interval();
    if (c == '[') {
      in_class_ = true;
      Copy(in_.substr(at_, 2) == "[^" ? 2 : 1);
      if (At("]") || At("[")) return Refuse(1);
      return {};
    }
    Copy(1);
    return {};
  }

  Status Group() {
    for (const std::string_view opening : kOpenings) {
      if (At(opening)) {
        Copy(opening.size());
        return {};
      }
    }
    if (At("(?") || At("(*")) return Refuse(3);
    Copy(1);
    return {};
  }

  // {n} {n,} {n,m}, greedy or lazy. {,m} and a + after the brace mean different things to the two.
  Status Interval() {
    const size_t end = in_.find('}', at_);
    const std::string_view body =
        end == std::string_view::npos ? std::string_view() : in_.substr(at_ + 1, end - at_ - 1);
    const bool digits = std::all_of(body.begin(), body.end(),
                                    [](char c) { return (c >= '0' && c <= '9') || c == ','; });
    if (body.empty() || body[0] == ',' || !digits) return Refuse(2);
    const bool fixed = body.find(',') == std::string_view::npos;
    const char next = end + 1 < in_.size() ? in_[end + 1] : '\0';
    if (next == '+' || (fixed && next == '?')) return Refuse(body.size() + 3);
    Copy(body.size() + 2);
    return {};
  }

  Status Escape() {
    const char c = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    // Under UCP, PCRE2's \s also takes U+180E, which lost White_Space in Unicode 6.3.
    if (c == 's' || c == 'S') {
      out_ += c == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      at_ += 2;
      return {};
    }
    if (c == 'p' || c == 'P') return Property();
    if (c == 'x' || c == 'u') return Hexadecimal(c);
    const bool simple =
        IsOneOf(c, "rntdD") || (c != '\0' && !IsLetterOrDigit(c) && (c & 0x80) == 0);
    if (!simple) return Refuse(2);
    Copy(2);
    return {};
  }

  // \p{L}, \p{Lu}: general categories. Longer names are scripts, where PCRE2 must be asked for the
  // plain property, because its default is the script extensions.
  Status Property() {
    const size_t end = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || end == std::string_view::npos) {
      return Refuse(3);
    }
    const std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    if (name.empty() || !std::all_of(name.begin(), name.end(), IsLetterOrDigit)) {
      return Refuse(end + 1 - at_);
    }
    out_ += in_.substr(at_, 3);
    if (name.size() > 2) out_ += "sc:";
    out_ += name;
    out_ += '}';
    at_ = end + 1;
    return {};
  }

  // \x{10FFFF} as it stands, \u3040 as \x{3040}; \x41 has the same meaning only below 0x80.
  Status Hexadecimal(char kind) {
    if (kind == 'x') {
      const size_t end = in_.find('}', at_);
      const bool braces = at_ + 2 < in_.size() && in_[at_ + 2] == '{';
      if (!braces || end == std::string_view::npos) return Refuse(4);
      const std::string_view digits = in_.substr(at_ + 3, end - at_ - 3);
      if (digits.empty() || !std::all_of(digits.begin(), digits.end(), IsHex)) {
        return Refuse(end + 1 - at_);
      }
      Copy(end + 1 - at_);
      return {};
    }
    const std::string_view digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 || !std::all_of(digits.begin(), digits.end(), IsHex)) return Refuse(6);
    out_ += "\\x{" + std::string(digits) + "}";
    at_ += 6;
    return {};
  }

  std::string_view in_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> PatternForPcre2(std::string_view pattern) {
  if (pattern.size() > static_cast<size_t>(kPatternBytesMax)) {
    return ResourceExhausted("split pattern: " + std::to_string(pattern.size()) +
                             " bytes, the limit is " + std::to_string(kPatternBytesMax));
  }
  return Rewriter(pattern).Run();
}

}  // namespace octet::tokenizer
