#include "coordinator/chat/text.h"

#include <algorithm>
#include <cstring>

#include "coordinator/chat/case_table.h"

namespace octet::chat {
namespace {

constexpr size_t kNotFound = std::string_view::npos;

// Assigned characters of the categories Cc, Cf, Cs, Co, Zs, Zl and Zp beyond ASCII (Unicode 14).
constexpr char32_t kUnprintable[][2] = {
    {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},      {0x61C, 0x61C},
    {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},      {0x8E2, 0x8E2},
    {0x1680, 0x1680},   {0x180E, 0x180E},   {0x2000, 0x200F},    {0x2028, 0x202F},
    {0x205F, 0x2064},   {0x2066, 0x206F},   {0x3000, 0x3000},    {0xD800, 0xF8FF},
    {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD},  {0x110CD, 0x110CD},
    {0x13430, 0x13438}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},  {0xE0001, 0xE0001},
    {0xE0020, 0xE007F}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}};

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

bool IsStripped(std::string_view text, size_t offset, std::optional<std::string_view> characters) {
  if (!characters) return IsSpace(CodePointAt(text, offset));
  const auto character = text.substr(offset, CodePointBytes(text, offset));
  return characters->find(character) != kNotFound;
}

size_t LastCodePointOffset(std::string_view text) {
  size_t offset = text.size() - 1;
  while (offset > 0 && IsContinuation(text[offset])) --offset;
  return offset;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// `first` is the first of the 26 letters of ASCII to be changed, 'a' or 'A'.
char32_t Recased(char32_t c, char32_t first, const std::vector<CaseRange>& ranges) {
  if (c < 0x80) return c >= first && c < first + 26 ? c ^ 0x20 : c;
  auto range = std::upper_bound(ranges.begin(), ranges.end(), c,
                                [](char32_t value, const CaseRange& r) { return value < r.first; });
  if (range == ranges.begin()) return c;
  --range;
  const bool inside = c <= range->last && (c - range->first) % range->stride == 0;
  return inside ? static_cast<char32_t>(static_cast<int32_t>(c) + range->delta) : c;
}

std::vector<std::string_view> Reversed(const std::vector<std::string_view>& pieces) {
  return {pieces.rbegin(), pieces.rend()};
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const int bytes = CodePointBytes(text, i);
    if (first >= 0x80 && (first < 0xC2 || first > 0xF4)) return false;
    if (i + bytes > text.size()) return false;
    for (int k = 1; k < bytes; ++k) {
      if (!IsContinuation(text[i + k])) return false;
    }
    const char32_t value = CodePointAt(text, i);
    if (bytes == 3 && (value < 0x800 || (value >= 0xD800 && value < 0xE000))) return false;
    if (bytes == 4 && (value < 0x10000 || value > 0x10FFFF)) return false;
    i += bytes;
  }
  return true;
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

int64_t CodePointCount(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += IsContinuation(c) ? 0 : 1;
  return count;
}

int CodePointBytes(std::string_view text, size_t offset) {
  const auto first = static_cast<unsigned char>(text[offset]);
  return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

char32_t CodePointAt(std::string_view text, size_t offset) {
  const int bytes = CodePointBytes(text, offset);
  const auto first = static_cast<unsigned char>(text[offset]);
  if (bytes == 1) return first;
  char32_t value = first & (0xFF >> (bytes + 1));
  for (int i = 1; i < bytes; ++i) {
    value = (value << 6) | (static_cast<unsigned char>(text[offset + i]) & 0x3F);
  }
  return value;
}

void AppendCodePoint(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    if (c < 0x10000) {
      out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    } else {
      out->push_back(static_cast<char>(0xF0 | (c >> 18)));
      out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    }
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

std::vector<size_t> CodePointOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

bool IsSpace(char32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsPrintable(char32_t c) {
  if (c < 0x20) return false;
  for (const auto& range : kUnprintable) {
    if (c >= range[0] && c <= range[1]) return false;
  }
  return true;
}

std::string_view StripLeft(std::string_view text, std::optional<std::string_view> characters) {
  while (!text.empty() && IsStripped(text, 0, characters)) {
    text.remove_prefix(CodePointBytes(text, 0));
  }
  return text;
}

std::string_view StripRight(std::string_view text, std::optional<std::string_view> characters) {
  while (!text.empty()) {
    const size_t last = LastCodePointOffset(text);
    if (!IsStripped(text, last, characters)) break;
    text = text.substr(0, last);
  }
  return text;
}

size_t Find(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return kNotFound;
  if (part.empty()) return from;
  // memmem is linear (two-way search); std::string_view::find is quadratic at the worst.
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? kNotFound : static_cast<const char*>(found) - text.data();
}

size_t FindLast(std::string_view text, std::string_view part) {
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_part(part.rbegin(), part.rend());
  const size_t found = Find(reversed_text, reversed_part);
  return found == kNotFound ? kNotFound : text.size() - found - part.size();
}

int64_t CountOccurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return CodePointCount(text) + 1;
  int64_t count = 0;
  for (size_t at = Find(text, part); at != kNotFound; at = Find(text, part, at + part.size())) {
    ++count;
  }
  return count;
}

MarkedText Replace(const MarkedText& marked, std::string_view part, const MarkedText& by,
                   int64_t count) {
  const std::string_view text = marked.text;
  MarkedText out;
  size_t done = 0;
  for (size_t at = Find(text, part); at != kNotFound && count != 0; --count) {
    out.Append(marked.Part(done, at));
    out.Append(by);
    done = at + part.size();
    size_t from = done;
    if (part.empty()) {
      if (at == text.size()) break;
      from += CodePointBytes(text, at);
    }
    at = Find(text, part, from);
  }
  out.Append(marked.Part(done, text.size()));
  return out;
}

std::vector<std::string_view> Split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t count) {
  std::vector<std::string_view> pieces;
  if (!separator) {
    for (text = StripLeft(text, {}); !text.empty() && count != 0; --count) {
      size_t end = 0;
      while (end < text.size() && !IsSpace(CodePointAt(text, end))) {
        end += CodePointBytes(text, end);
      }
      pieces.push_back(text.substr(0, end));
      text = StripLeft(text.substr(end), {});
    }
    if (!text.empty()) pieces.push_back(text);
    return pieces;
  }
  size_t begin = 0;
  for (; count != 0; --count) {
    const size_t at = Find(text, *separator, begin);
    if (at == kNotFound) break;
    pieces.push_back(text.substr(begin, at - begin));
    begin = at + separator->size();
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

std::vector<std::string_view> SplitFromRight(std::string_view text,
                                             std::optional<std::string_view> separator,
                                             int64_t count) {
  std::vector<std::string_view> pieces;
  if (!separator) {
    for (text = StripRight(text, {}); !text.empty() && count != 0; --count) {
      size_t begin = text.size();
      while (begin > 0 && !IsSpace(CodePointAt(text, LastCodePointOffset(text.substr(0, begin))))) {
        begin = LastCodePointOffset(text.substr(0, begin));
      }
      pieces.push_back(text.substr(begin));
      text = StripRight(text.substr(0, begin), {});
    }
    if (!text.empty()) pieces.push_back(text);
    return Reversed(pieces);
  }
  // The offsets in the reversed text are those of a left-to-right split of it.
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_separator(separator->rbegin(), separator->rend());
  for (const auto piece : Split(reversed_text, reversed_separator, count)) {
    const size_t offset = piece.data() - reversed_text.data();
    pieces.push_back(text.substr(text.size() - offset - piece.size(), piece.size()));
  }
  return Reversed(pieces);
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    size_t next = i + CodePointBytes(text, i);
    if (IsLineEnd(CodePointAt(text, i))) {
      if (text[i] == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : i) - begin));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::optional<std::string> Upper(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) {
    const char32_t c = CodePointAt(text, i);
    if (c == 0xDF) {
      out += "SS";
    } else if (std::binary_search(kUpperToSeveral.begin(), kUpperToSeveral.end(), c)) {
      return {};
    } else {
      AppendCodePoint(Recased(c, 'a', kUpperRanges), &out);
    }
  }
  return out;
}

std::optional<std::string> Lower(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i += CodePointBytes(text, i)) {
    const char32_t c = CodePointAt(text, i);
    if (c == 0x130 || c == 0x3A3) return {};
    AppendCodePoint(Recased(c, 'A', kLowerRanges), &out);
  }
  return out;
}

}  // namespace octet::chat
