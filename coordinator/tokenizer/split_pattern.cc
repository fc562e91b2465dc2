#include "coordinator/tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "coordinator/tokenizer/limits.h"

namespace octet::tokenizer {
namespace {

std::string ErrorText(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

// Only the bounds of the whole match are read, so one pair is enough for every pattern.
MatchScratch::MatchScratch() : data_(pcre2_match_data_create(1, nullptr)) {
  OCTET_CHECK(data_ != nullptr);
}
void MatchScratch::Free::operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
void SplitPattern::FreeCode::operator()(pcre2_code* code) const { pcre2_code_free(code); }
void SplitPattern::FreeContext::operator()(pcre2_match_context* context) const {
  pcre2_match_context_free(context);
}

Result<SplitPattern> SplitPattern::Compile(std::string_view pattern) {
  OCTET_ASSIGN_OR_RETURN(const std::string rewritten, PatternForPcre2(pattern));
  return CompilePcre2(rewritten);
}

Result<SplitPattern> SplitPattern::CompilePcre2(const std::string& pattern) {
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> compile(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  OCTET_CHECK(compile != nullptr);
  // To Oniguruma only \n ends a line, and the build of PCRE2 must not decide it.
  pcre2_set_newline(compile.get(), PCRE2_NEWLINE_LF);

  int error = 0;
  PCRE2_SIZE error_at = 0;
  SplitPattern result;
  result.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &error_at, compile.get()));
  if (result.code_ == nullptr) {
    return InvalidArgument("split pattern `" + pattern + "`: " + ErrorText(error) + " at byte " +
                           std::to_string(error_at));
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info(result.code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    return Unimplemented("split pattern `" + pattern +
                         "` can match the empty text; supported are patterns that cannot");
  }
  // Without a JIT on this processor the interpreter gives the same answers, more slowly.
  (void)pcre2_jit_compile(result.code_.get(), PCRE2_JIT_COMPLETE);

  result.limits_.reset(pcre2_match_context_create(nullptr));
  OCTET_CHECK(result.limits_ != nullptr);
  pcre2_set_match_limit(result.limits_.get(), kRegexMatchSteps);
  pcre2_set_depth_limit(result.limits_.get(), kRegexDepth);
  pcre2_set_heap_limit(result.limits_.get(), kRegexHeapKibMax);
  return result;
}

int SplitPattern::MatchFrom(std::string_view text, size_t start,
                            const MatchScratch& scratch) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // The text was checked once for the whole call; checking per match would be quadratic.
  int rc = pcre2_match(code_.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK, scratch.get(),
                       limits_.get());
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    // Compiled code backtracks on the machine stack (32 KiB of it), the interpreter on the heap.
    rc = pcre2_match(code_.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                     scratch.get(), limits_.get());
  }
  return rc;
}

Status SplitPattern::Split(std::string_view text, const MatchScratch& scratch,
                           std::vector<std::string_view>* pieces) const {
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.get());
  size_t done = 0;
  while (done < text.size()) {
    const int rc = MatchFrom(text, done, scratch);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      return ResourceExhausted("split pattern: no decision at byte " + std::to_string(done) +
                               " of a text of " + std::to_string(text.size()) +
                               " bytes: " + ErrorText(rc));
    }
    const size_t begin = bounds[0];
    const size_t end = bounds[1];
    OCTET_CHECK_GE(begin, done);
    OCTET_CHECK_GT(end, begin);
    if (begin > done) pieces->push_back(text.substr(done, begin - done));
    pieces->push_back(text.substr(begin, end - begin));
    done = end;
  }
  if (done < text.size()) pieces->push_back(text.substr(done));
  return {};
}

bool SplitPattern::Matches(std::string_view text, const MatchScratch& scratch) const {
  return MatchFrom(text, 0, scratch) >= 0;
}

}  // namespace octet::tokenizer
