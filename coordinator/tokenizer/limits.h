// Every limit of the tokenizer, by name. A file or a text beyond one of them is refused with a
// status that says the limit; nothing is cut silently.
#pragma once

#include <cstdint>

namespace octet::tokenizer {

// tokenizer.json. The largest byte-level one in use (a vocabulary of 200k) has 28 MB.
inline constexpr int64_t kTokenizerJsonBytesMax = int64_t{64} << 20;
inline constexpr int64_t kJsonDepthMax = 32;
// Four times the largest vocabulary in use; ids above it are refused before anything is sized.
inline constexpr int64_t kVocabEntriesMax = int64_t{1} << 20;
// Several merges may lead to one token: Llama-3 has 280k merges for 128k tokens.
inline constexpr int64_t kMergesMax = int64_t{4} << 20;
inline constexpr int64_t kTokenBytesMax = 1024;
inline constexpr int64_t kPreTokenizerStepsMax = 16;
inline constexpr int64_t kNormalizerStepsMax = 16;
inline constexpr int64_t kDecoderStepsMax = 16;
inline constexpr int64_t kDecoderStripMax = 1024;
// What a normalizer puts in: a U+2581 in all families.
inline constexpr int64_t kReplacementBytesMax = 256;
inline constexpr int64_t kPatternBytesMax = 4096;
inline constexpr int64_t kTemplateTokensMax = 64;

// tokenizer.model. The largest in use (a vocabulary of 262k) has 5 MB.
inline constexpr int64_t kSentencePieceBytesMax = int64_t{32} << 20;
// The precompiled_charsmap in it; nmt_nfkc_cf, the largest that comes with sentencepiece, has 262
// kB.
inline constexpr int64_t kCharsmapBytesMax = int64_t{4} << 20;
// A .tiktoken. The largest in use (200k ranks) has 4 MB.
inline constexpr int64_t kTiktokenBytesMax = int64_t{32} << 20;
// Bytes of byte-fallback tokens that a decoder holds back until their run ends.
inline constexpr int64_t kByteRunBytesMax = 64;

// One call of Encode. At the worst (16 MiB of one mark) it takes a few seconds of one core and
// 500 MB; a model's context is two orders of magnitude shorter.
inline constexpr int64_t kEncodeBytesMax = int64_t{16} << 20;
// A text after normalization: every space of the longest text as U+2581 and a little more.
inline constexpr int64_t kNormalizedBytesMax = 4 * kEncodeBytesMax;
// One match of a split pattern; the patterns in use need a few steps per character of a match.
inline constexpr uint32_t kRegexMatchSteps = 200'000'000;
inline constexpr uint32_t kRegexDepth = 10'000'000;
inline constexpr uint32_t kRegexHeapKibMax = 512 * 1024;

}  // namespace octet::tokenizer
