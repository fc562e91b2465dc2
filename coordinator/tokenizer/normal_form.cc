#include "coordinator/tokenizer/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

// A decomposition has at most four characters, a compatibility one 18 (UAX 15, stable since 3.0).
constexpr int kDecompositionMax = 18;
constexpr int32_t kBeforeTrailingConsonants = 0x11A7;

int CombiningClass(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<int32_t> Decompose(std::string_view text, NormalForm form) {
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_DECOMPOSE | (form == NormalForm::kNfkc ? UTF8PROC_COMPAT : 0));
  std::vector<int32_t> out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(static_cast<size_t>(c.length_bytes));
    if (c.value < 0x80) {
      out.push_back(c.value);
      continue;
    }
    int32_t parts[kDecompositionMax];
    const auto count = utf8proc_decompose_char(c.value, parts, kDecompositionMax, options, nullptr);
    OCTET_CHECK_GE(count, 1);
    OCTET_CHECK_LE(count, kDecompositionMax);
    out.insert(out.end(), parts, parts + count);
  }
  return out;
}

void OrderMarks(std::vector<int32_t>* text) {
  const auto is_starter = [](int32_t c) { return c < 0x300 || CombiningClass(c) == 0; };
  auto run = text->begin();
  while (run != text->end()) {
    run = std::find_if_not(run, text->end(), is_starter);
    const auto run_end = std::find_if(run, text->end(), is_starter);
    if (run_end - run > 1) {
      std::stable_sort(run, run_end,
                       [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    }
    run = run_end;
  }
}

// Composes `count` ordered characters and appends them to `out`.
void Compose(int32_t* points, int64_t count, std::string* out) {
  // STABLE is utf8proc's name for: do not compose what the composition exclusions forbid.
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const utf8proc_ssize_t composed = utf8proc_normalize_utf32(points, count, options);
  OCTET_CHECK_GE(composed, 0);
  for (utf8proc_ssize_t i = 0; i < composed; ++i) AppendCodePoint(points[i], out);
}

}  // namespace

bool IsTriviallyNormal(std::string_view text, NormalForm form) {
  // In UTF-8 U+0300 is CC 80 and U+00A0 is C2 A0, and the order of bytes is that of code points.
  const uint8_t end = form == NormalForm::kNfc ? 0xCC : 0x80;
  return std::none_of(text.begin(), text.end(),
                      [end](char c) { return static_cast<uint8_t>(c) >= end; });
}

bool JoinsBackwards(std::string_view text, NormalForm form) {
  const CodePoint c = FirstCodePoint(text);
  if (c.value < 0x80) return false;
  // What the second part of a composition can be: a mark, or a vowel or trailing consonant of
  // Hangul. Of a character that is decomposed, its first part.
  const int32_t first =
      Decompose(text.substr(0, static_cast<size_t>(c.length_bytes)), form).front();
  const utf8proc_category_t category = utf8proc_category(first);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME || (first >= 0x1160 && first <= 0x11FF);
}

std::string ToNormalForm(std::string_view text, NormalForm form) {
  std::vector<int32_t> points = Decompose(text, form);
  OrderMarks(&points);
  std::string out;
  out.reserve(text.size());
  // utf8proc 2.8 takes U+11A7, one before the first trailing consonant of Hangul, for one, and
  // swallows it. Nothing composes with it, so the text is composed in the parts between.
  for (auto begin = points.begin(); begin != points.end();) {
    const auto end = std::find(begin, points.end(), kBeforeTrailingConsonants);
    Compose(&*begin, end - begin, &out);
    if (end == points.end()) break;
    AppendCodePoint(*end, &out);
    begin = end + 1;
  }
  return out;
}

}  // namespace octet::tokenizer
