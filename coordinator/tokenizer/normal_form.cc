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

// Characters with a combining class, a decomposition or a composition that are newer than Unicode
// 9, up to 15: found by comparing utf8proc 2.8 with tokenizers 0.23 on every character.
struct Range {
  int32_t first;
  int32_t last;
};
constexpr Range kNewer[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},
    {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785}, {0x10787, 0x107B0},
    {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
    {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

bool IsLeftAlone(int32_t c, NormalForm form) {
  if (form == NormalForm::kNfc || c < kNewer[0].first) return false;
  const Range* const found = std::lower_bound(std::begin(kNewer), std::end(kNewer), c,
                                              [](const Range& r, int32_t c) { return r.last < c; });
  return found != std::end(kNewer) && found->first <= c;
}

int CombiningClass(int32_t code_point, NormalForm form) {
  if (IsLeftAlone(code_point, form)) return 0;
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<int32_t> Decompose(std::string_view text, NormalForm form) {
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_DECOMPOSE | (form == NormalForm::kTokenizersNfkc ? UTF8PROC_COMPAT : 0));
  std::vector<int32_t> out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(static_cast<size_t>(c.length_bytes));
    if (c.value < 0x80 || IsLeftAlone(c.value, form)) {
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

void OrderMarks(std::vector<int32_t>* text, NormalForm form) {
  const auto is_starter = [form](int32_t c) { return c < 0x300 || CombiningClass(c, form) == 0; };
  auto run = text->begin();
  while (run != text->end()) {
    run = std::find_if_not(run, text->end(), is_starter);
    const auto run_end = std::find_if(run, text->end(), is_starter);
    if (run_end - run > 1) {
      std::stable_sort(run, run_end, [form](int32_t a, int32_t b) {
        return CombiningClass(a, form) < CombiningClass(b, form);
      });
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
  const uint8_t end = form == NormalForm::kTokenizersNfkc ? 0x80 : 0xCC;
  return std::none_of(text.begin(), text.end(),
                      [end](char c) { return static_cast<uint8_t>(c) >= end; });
}

bool JoinsBackwards(std::string_view text, NormalForm form) {
  const CodePoint c = FirstCodePoint(text);
  if (c.value < 0x80 || IsLeftAlone(c.value, form)) return false;
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
  OrderMarks(&points, form);
  std::string out;
  out.reserve(text.size());
  // utf8proc 2.8 takes U+11A7, one before the first trailing consonant of Hangul, for one, and
  // swallows it. Nothing composes with it, nor with what is left alone, so the text is composed in
  // the parts between.
  const auto is_apart = [form](int32_t c) {
    return c == kBeforeTrailingConsonants || IsLeftAlone(c, form);
  };
  for (auto begin = points.begin(); begin != points.end();) {
    const auto end = std::find_if(begin, points.end(), is_apart);
    if (end != begin) Compose(&*begin, end - begin, &out);
    if (end == points.end()) break;
    AppendCodePoint(*end, &out);
    begin = end + 1;
  }
  return out;
}

}  // namespace octet::tokenizer
