// The files from which a tokenizer is made where there is no tokenizer.json.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "coordinator/tokenizer/definition.h"

namespace octet::tokenizer {

// How all of Qwen's tokenizers cut words: digits singly.
inline constexpr const char* kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

struct VocabFiles {
  std::string name;                    // of the vocabulary's file
  std::string_view vocab;              // its bytes
  std::string_view config_json;        // tokenizer_config.json, or empty
  std::string_view added_tokens_json;  // added_tokens.json, or empty
};

// tokenizer.model, a protobuf of sentencepiece with a BPE model. sentencepiece_model.cc
Result<Definition> ParseSentencePiece(const VocabFiles& files);

// Lines of base64 and rank. Named qwen.tiktoken it is Qwen v1's; other names are read as
// transformers' TikTokenConverter reads them: Llama-3's pattern, no normalization. tiktoken.cc
Result<Definition> ParseTiktoken(const VocabFiles& files);
// Whether a file begins with such a line: Llama-3 ships one under the name tokenizer.model.
bool LooksLikeTiktoken(std::string_view vocab);

// vocab.json (`files.vocab`) and merges.txt, as the tokenizer_class reads them in transformers:
// GPT2Tokenizer or Qwen2Tokenizer. Where none is named `model_type`, config.json's, tells which.
// Unimplemented: it is another, or no one knows. vocab_merges.cc
Result<Definition> ParseVocabAndMerges(const VocabFiles& files, std::string_view merges,
                                       const std::string& model_type);

// Adds the tokens of added_tokens.json and of tokenizer_config.json's added_tokens_decoder, cut out
// of the raw text. One that has the id of a token of the vocabulary takes its place, and no text
// becomes the former any more. added_tokens_files.cc
Status AddTokensOfFiles(const VocabFiles& files, Definition* definition);

}  // namespace octet::tokenizer
