// The regular expression of a pre-tokenizer, run by PCRE2. tokenizer.json is written for Oniguruma;
// the two read the same pattern differently in places, so a pattern is first rewritten, and
// constructs whose meaning differs are refused by name (see README.md). Immutable after Compile:
// any thread may split at any time, each with its own MatchScratch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace octet::tokenizer {

// The place where PCRE2 writes the bounds of a match. One per call of Encode.
class MatchScratch {
 public:
  MatchScratch();
  pcre2_real_match_data_8* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(pcre2_real_match_data_8* data) const;
  };
  std::unique_ptr<pcre2_real_match_data_8, Free> data_;
};

class SplitPattern {
 public:
  // A pattern as tokenizer.json spells it.
  static Result<SplitPattern> Compile(std::string_view pattern);
  // A pattern of our own, in PCRE2's spelling.
  static Result<SplitPattern> CompilePcre2(const std::string& pattern);

  // Appends the matches and what lies between them, in order and without gaps ("Isolated"). The
  // pieces point into `text`. REQUIRES: valid UTF-8.
  Status Split(std::string_view text, const MatchScratch& scratch,
               std::vector<std::string_view>* pieces) const;

  bool Matches(std::string_view text, const MatchScratch& scratch) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  struct FreeContext {
    void operator()(pcre2_real_match_context_8* context) const;
  };
  SplitPattern() = default;
  int MatchFrom(std::string_view text, size_t start, const MatchScratch& scratch) const;

  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
  std::unique_ptr<pcre2_real_match_context_8, FreeContext> limits_;
};

// Rewrites an Oniguruma pattern into one that means the same to PCRE2 under UTF|UCP.
Result<std::string> PatternForPcre2(std::string_view pattern);

}  // namespace octet::tokenizer
