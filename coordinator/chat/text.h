// Python's str on valid UTF-8: positions are code points, white space is what str.isspace says.
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/chat/marked_text.h"

namespace octet::chat {

// No surrogates, no overlong forms, nothing above U+10FFFF.
bool IsValidUtf8(std::string_view text);
bool IsAscii(std::string_view text);
int64_t CodePointCount(std::string_view text);
// The bytes of the code point that begins at `offset`. REQUIRES: offset < text.size().
int CodePointBytes(std::string_view text, size_t offset);
char32_t CodePointAt(std::string_view text, size_t offset);
void AppendCodePoint(char32_t code_point, std::string* out);
// Offsets of all code points, and the size.
std::vector<size_t> CodePointOffsets(std::string_view text);

bool IsSpace(char32_t code_point);
// Would repr print it as it is. Code points that no Unicode version has assigned count as
// printable.
bool IsPrintable(char32_t code_point);

std::string_view StripLeft(std::string_view text, std::optional<std::string_view> characters);
std::string_view StripRight(std::string_view text, std::optional<std::string_view> characters);

// Linear in the text, whatever is searched for. npos when it is not there.
size_t Find(std::string_view text, std::string_view part, size_t from = 0);
size_t FindLast(std::string_view text, std::string_view part);
int64_t CountOccurrences(std::string_view text, std::string_view part);
// A negative `count` means all of them.
MarkedText Replace(const MarkedText& text, std::string_view part, const MarkedText& by,
                   int64_t count);

// Without a separator: at runs of white space, none of which gives an empty piece.
// REQUIRES: a separator that is given is not empty.
std::vector<std::string_view> Split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t count);
std::vector<std::string_view> SplitFromRight(std::string_view text,
                                             std::optional<std::string_view> separator,
                                             int64_t count);
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);

// Nothing for the few texts that need more than a character for a character: upper case of U+0149
// and its like (but ß is SS), lower case of U+0130 and of the capital sigma, which depends on its
// place.
std::optional<std::string> Upper(std::string_view text);
std::optional<std::string> Lower(std::string_view text);

}  // namespace octet::chat
