#include "coordinator/tokenizer/byte_run.h"

#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {

void ByteRun::Append(uint8_t byte, std::string* out) {
  held_.push_back(static_cast<char>(byte));
  if (keep_whole_characters_) {
    GiveWholeCharacters(out);
  } else if (static_cast<int64_t>(held_.size()) >= kByteRunBytesMax) {
    const auto bad = InvalidUtf8Offset(held_);
    const bool is_begun =
        bad.has_value() &&
        BeginsCharacter(std::string_view(held_).substr(static_cast<size_t>(*bad)));
    if (bad.has_value() && !is_begun) return GiveReplacements(out);
    GiveWholeCharacters(out);
  }
}

void ByteRun::Finish(std::string* out) {
  if (keep_whole_characters_ || InvalidUtf8Offset(held_).has_value()) return GiveReplacements(out);
  out->append(held_);
  held_.clear();
}

void ByteRun::GiveWholeCharacters(std::string* out) {
  while (!held_.empty()) {
    const auto bad = InvalidUtf8Offset(held_);
    const size_t good_bytes = bad.has_value() ? static_cast<size_t>(*bad) : held_.size();
    out->append(held_, 0, good_bytes);
    held_.erase(0, good_bytes);
    if (held_.empty() || BeginsCharacter(held_)) return;
    out->append(kReplacementCharacter);
    held_.erase(0, 1);
  }
}

void ByteRun::GiveReplacements(std::string* out) {
  for (size_t i = 0; i < held_.size(); ++i) out->append(kReplacementCharacter);
  held_.clear();
}

}  // namespace octet::tokenizer
