// What the files of a tokenizer say, after checking and before anything is built from it, whichever
// of the three kinds of file they are. Every id in here is in [0, tokens.size()), every text is
// valid UTF-8, every limit of limits.h holds.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace octet::tokenizer {

struct Merge {  // its rank is its index
  int32_t left = 0;
  int32_t right = 0;
  int32_t result = 0;
};

// How a word becomes tokens. It begins as its bytes or its characters, each a symbol, and symbols
// that stand side by side are merged, lowest rank first.
struct BpeModel {
  bool byte_level = true;  // begins as bytes; otherwise as characters
  // Byte level: the token of each single byte. Otherwise the token that stands for the byte of a
  // character without a token, where byte_fallback is set; -1: there is none.
  std::array<int32_t, 256> byte_ids{};
  std::vector<int32_t> word_ids;  // tokens that a word can be as a whole
  bool ignore_merges = false;     // a word that is a token is that token
  std::vector<Merge> merges;      // what may be merged, if not by_span()
  // [tokens] otherwise: any two symbols may be merged whose texts together are a token, in the
  // order of these ranks (equal ranks: leftmost first). kNoRank: this token takes no part.
  std::vector<int32_t> span_ranks;
  static constexpr int32_t kNoRank = INT32_MAX;
  bool by_span() const { return !span_ranks.empty(); }
  bool byte_fallback = false;
  std::optional<int32_t> unk_id;  // of a character that has neither token nor bytes
  bool fuse_unk = false;          // one for a run of such characters
};

// Text that is cut out of the input before anything else looks at it.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // hidden by skip_special_tokens, plain text unless specials are parsed
  bool lstrip = false;       // takes the white space to its left along
  bool rstrip = false;       // takes the white space to its right along
  bool single_word = false;  // only where no word character touches it
  bool normalized = false;   // searched for after normalization, in its normalized form
};

// sentencepiece's own normalizer. Where it is a step, it is the only one.
struct SentencePieceRules {
  std::string charsmap;  // precompiled, or empty
  bool dummy_prefix = true;
  bool prefix_once = false;  // at the beginning of the whole text alone
  bool remove_extra_spaces = true;
  std::vector<std::string> user_defined;  // pieces that nothing is changed in
};

struct Replacement {
  std::string pattern;  // not empty
  std::string content;
};

struct NormalizerStep {
  enum class Kind {
    kNfc,
    kTokenizersNfc,
    kTokenizersNfkc,
    kPrepend,
    kReplace,
    kStrip,
    kSentencePiece
  };
  Kind kind = Kind::kNfc;
  Replacement replacement;  // of kReplace
  std::string prepended;    // of kPrepend
  bool left = false;        // of kStrip: white space of this side
  bool right = false;
};

struct PreTokenizerStep {
  enum class Kind { kPrefixSpace, kSplit, kMetaspace };
  enum class Prepend { kFirst, kAlways, kNever };
  Kind kind = Kind::kSplit;
  std::string text;  // of kSplit the pattern, of kMetaspace what stands for a space
  Prepend prepend = Prepend::kNever;  // of kMetaspace: to which pieces
  bool split = false;                 // of kMetaspace: a piece for each word
};

// How tokens become text.
struct DecoderRules {
  // What happens to the space that encoding put before a text.
  enum class Start {
    kKept,
    kStripped,     // up to start_count times `start` goes from the beginning of the text
    kFirstToken,   // all `start` go from the first token
    kFirstPiece,   // one `start` goes from the beginning of the first piece that has any text,
    kFirstPieces,  // or of each piece up to and with that one
  };
  bool byte_level = true;                 // tokens are spelled in the byte alphabet
  bool added_as_written = false;          // except added tokens
  std::vector<Replacement> replacements;  // in each token, one after the other
  bool byte_fallback = false;             // tokens that read <0x0A> are bytes
  // A run of such bytes that is not UTF-8 keeps the characters that are whole (sentencepiece);
  // otherwise it is one U+FFFD per byte.
  bool keep_whole_characters = false;
  Start start_rule = Start::kKept;
  std::string start;  // one character
  int64_t start_count = 0;
};

struct Definition {
  std::vector<std::string> tokens;  // by id, as their file spells them; empty: no such token
  BpeModel bpe;
  std::vector<NormalizerStep> normalizer;
  SentencePieceRules sentence_piece;
  std::vector<PreTokenizerStep> steps;
  std::vector<AddedToken> added_tokens;
  DecoderRules decoder;
  std::vector<int32_t> prefix_ids;  // what the post-processor puts before a text
  std::vector<int32_t> suffix_ids;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
};

}  // namespace octet::tokenizer
