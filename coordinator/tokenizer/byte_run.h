// Bytes that come as tokens of a byte-fallback vocabulary ("<0xE2>", ...), and the text that a run
// of them is. The two libraries differ where a run is not UTF-8: Hugging Face's gives one U+FFFD
// for each byte of the run, sentencepiece keeps the characters that are whole. One thread at a
// time.
#pragma once

#include <cstdint>
#include <string>

namespace octet::tokenizer {

class ByteRun {
 public:
  explicit ByteRun(bool keep_whole_characters) : keep_whole_characters_(keep_whole_characters) {}

  // May give out what can no longer change. Keeping whole characters holds back at most three
  // bytes; otherwise the run is held back until it ends, or has kByteRunBytesMax bytes: then it is
  // decided as far as it is there.
  void Append(uint8_t byte, std::string* out);
  // The run ends here.
  void Finish(std::string* out);

 private:
  // Gives out the characters that are whole, and U+FFFD for each byte that no character can have.
  void GiveWholeCharacters(std::string* out);
  void GiveReplacements(std::string* out);

  bool keep_whole_characters_;
  std::string held_;
};

}  // namespace octet::tokenizer
