// What happens to a text before its words are looked for, as the steps of a tokenizer's normalizer
// say. Immutable after construction; any thread may use it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/byte_spans.h"
#include "base/status.h"
#include "coordinator/tokenizer/definition.h"

namespace octet::tokenizer {

class SentencePieceNormalizer;

Status TooLongNormalized();  // what is said beyond kNormalizedBytesMax

class Normalizer {
 public:
  // REQUIRES: the charsmap of the definition has been checked (Charsmap::Check).
  explicit Normalizer(const Definition& definition);
  ~Normalizer();
  Normalizer(const Normalizer&) = delete;
  Normalizer& operator=(const Normalizer&) = delete;

  // The normalized text, which is `text` itself or lies in `owned`. `at_start`: the whole text
  // begins here. `spans`, of `text`, become those of the result, with the characters that are made
  // of bytes inside and outside of them. REQUIRES: valid UTF-8. ResourceExhausted beyond
  // kNormalizedBytesMax. Time O(n log n) in the longest run of combining marks, else O(n).
  Result<std::string_view> Apply(std::string_view text, bool at_start,
                                 std::deque<std::string>* owned, ByteSpans* spans) const;

  // The form of an added token that is searched for in normalized text. sentencepiece changes none.
  Result<std::string> ApplyToToken(const std::string& content) const;

 private:
  const std::vector<NormalizerStep>& steps_;
  std::unique_ptr<const SentencePieceNormalizer> sentence_piece_;
};

}  // namespace octet::tokenizer
