// Byte-pair encoding as the files of a checkpoint describe it (tokenizer.json, sentencepiece's
// tokenizer.model, *.tiktoken): text to token ids and back. A Tokenizer is immutable once loaded,
// and any thread may use it at any time. It knows nothing of chat templates, requests or models.
//
//   OCTET_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(model_dir));
//   OCTET_ASSIGN_OR_RETURN(auto ids, tokenizer.Encode("Hello", /*add_special_tokens=*/true));
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_spans.h"
#include "base/status.h"
#include "coordinator/tokenizer/byte_run.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {

struct Definition;
struct VocabFiles;

class Tokenizer {
 public:
  // Reads tokenizer.json or, where there is none, *.tiktoken, tokenizer.model, or vocab.json with
  // merges.txt; and, when they are there, tokenizer_config.json (bos_token, eos_token,
  // add_bos_token, add_eos_token, added_tokens_decoder, legacy) and added_tokens.json. What the
  // files ask for and this class cannot do is Unimplemented, and the message names both.
  static Result<Tokenizer> Load(const std::string& model_dir);
  // tokenizer.json from its text; `config_json` may be empty.
  static Result<Tokenizer> FromJson(std::string_view json, std::string_view config_json = {});
  // The other kinds, from the bytes of their files.
  static Result<Tokenizer> FromSentencePiece(const VocabFiles& files);
  static Result<Tokenizer> FromTiktoken(const VocabFiles& files);
  // REQUIRES: a checked definition (definition.h).
  static Result<Tokenizer> FromDefinition(Definition definition);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // `add_special_tokens` adds what the post-processor puts around a text (Llama-3: its bos).
  // `parse_special_tokens` finds special tokens that are spelled out in the text; pass false for
  // text that users wrote, which then cannot contain a control token. Added tokens that are not
  // special are found either way. Invalid UTF-8 is InvalidArgument, more than kEncodeBytesMax is
  // ResourceExhausted. Time O(n log n) in the bytes of the longest word.
  Result<std::vector<int32_t>> Encode(std::string_view utf8, bool add_special_tokens,
                                      bool parse_special_tokens = true) const;
  // As if special tokens were parsed, except that none is found that has a byte in `plain`: ranges
  // of the text, whose edges are those of characters, that users wrote inside a text that others
  // made. The ids are the same as without `plain` where nothing in it spells a special token.
  Result<std::vector<int32_t>> Encode(std::string_view utf8, bool add_special_tokens,
                                      const ByteSpans& plain) const;

  // Valid UTF-8 always: U+FFFD stands for each maximal part of a broken character. Ids that no
  // token has (a model's padded rows) give nothing.
  std::string Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  int64_t vocab_size() const;  // the highest id and one; the model's table may be larger
  // By the spelling of its file ("<|endoftext|>", "\u2581the", byte-level "\u0120the", which is how
  // those of a .tiktoken are spelled too).
  std::optional<int32_t> TokenId(std::string_view token) const;
  bool IsSpecial(int32_t id) const;
  // Whether Decode shows any of the ids: those that exist and, when special ones are skipped, are
  // not special.
  bool IsAnyShown(std::span<const int32_t> ids, bool skip_special_tokens) const;
  // The bytes that decode gives for the token; they need not be UTF-8. Empty for unknown ids. Valid
  // as long as the tokenizer.
  std::string_view TokenBytes(int32_t id) const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;

 private:
  friend class IncrementalDetokenizer;
  struct State;
  bool IsShown(int32_t id, bool skip_special_tokens) const;
  explicit Tokenizer(std::unique_ptr<const State> state);

  std::unique_ptr<const State> state_;
};

// Decodes a stream token by token and gives out complete characters only: every piece is valid
// UTF-8, and the pieces with Finish() at the end are what Decode gives for all the ids. One thread
// at a time. The tokenizer must outlive it and stay where it is.
class IncrementalDetokenizer {
 public:
  // `follows_text`: the stream goes on a text, so that the space that some decoders take from the
  // beginning of a text stays: the pieces are then what Decode gives for the whole less its
  // beginning.
  IncrementalDetokenizer(const Tokenizer* tokenizer, bool skip_special_tokens,
                         bool follows_text = false);

  std::string Append(int32_t id);
  // Gives out what is left: U+FFFD for a character that was never completed. The object can then
  // begin a new stream.
  std::string Finish();

 private:
  void Begin();
  void AfterStart(std::string* text);

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  LossyUtf8Decoder utf8_;  // byte level
  ByteRun run_;            // byte fallback
  bool at_start_ = false;  // of a text whose beginning loses something
  int64_t strip_left_ = 0;
};

}  // namespace octet::tokenizer
