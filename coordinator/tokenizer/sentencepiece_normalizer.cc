#include "coordinator/tokenizer/sentencepiece_normalizer.h"

#include <cstring>

#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/normalizer.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

constexpr size_t kUnitBytes = 4;

// darts-clone's unit. A node's value lies in a unit of its own, at the node's offset.
bool HasLeaf(uint32_t unit) { return ((unit >> 8) & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

uint32_t ReadLittleEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < kUnitBytes; ++i) {
    value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

std::vector<AddedToken> TokensOf(const std::vector<std::string>& texts) {
  std::vector<AddedToken> tokens(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) tokens[i].content = texts[i];
  return tokens;
}

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  const size_t units_bytes = ReadLittleEndian(blob);
  units_ = blob.substr(kUnitBytes, units_bytes);
  results_ = blob.substr(kUnitBytes + units_bytes);
}

Status Charsmap::Check(std::string_view blob) {
  if (blob.empty()) return {};
  if (blob.size() <= kUnitBytes) {
    return InvalidArgument("has " + std::to_string(blob.size()) +
                           " bytes, expected a length of four bytes and what follows it");
  }
  const size_t units_bytes = ReadLittleEndian(blob);
  if (units_bytes == 0 || units_bytes % kUnitBytes != 0 ||
      units_bytes >= blob.size() - kUnitBytes) {
    return InvalidArgument("says that its double array has " + std::to_string(units_bytes) +
                           " bytes, expected a positive multiple of four below the " +
                           std::to_string(blob.size() - kUnitBytes) + " that follow");
  }
  const std::string_view results = blob.substr(kUnitBytes + units_bytes);
  if (results.back() != '\0') return InvalidArgument("does not end in a zero byte");
  if (const auto at = InvalidUtf8Offset(results)) {
    return InvalidArgument("has texts that are not UTF-8, at byte " +
                           std::to_string(kUnitBytes + units_bytes + static_cast<size_t>(*at)));
  }
  // A value may point anywhere: into the middle of a character would make text that is not UTF-8.
  const auto begins_text = [&](uint32_t value) {
    return value < results.size() && (static_cast<uint8_t>(results[value]) & 0xC0) != 0x80;
  };
  const std::string_view units = blob.substr(kUnitBytes, units_bytes);
  const size_t count = units_bytes / kUnitBytes;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t unit = ReadLittleEndian(units.substr(i * kUnitBytes));
    if ((unit >> 31) != 0 || !HasLeaf(unit)) continue;
    const size_t leaf = i ^ Offset(unit);
    if (leaf >= count) {
      return InvalidArgument("has a double array whose unit " + std::to_string(i) + " leads to " +
                             std::to_string(leaf) + " of " + std::to_string(count));
    }
    const uint32_t value = Value(ReadLittleEndian(units.substr(leaf * kUnitBytes)));
    if (!begins_text(value)) {
      return InvalidArgument("has a rule whose text begins at byte " + std::to_string(value) +
                             " of " + std::to_string(results.size()) +
                             ", where no character begins");
    }
  }
  return {};
}

uint32_t Charsmap::Unit(size_t index) const {
  return ReadLittleEndian(units_.substr(index * kUnitBytes, kUnitBytes));
}

Charsmap::Rule Charsmap::Find(std::string_view text) const {
  const size_t count = units_.size() / kUnitBytes;
  Rule rule;
  if (count == 0) return rule;
  size_t node = Offset(Unit(0));
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (node >= count) break;
    const uint32_t unit = Unit(node);
    if (Label(unit) != byte) break;
    node ^= Offset(unit);
    if (!HasLeaf(unit) || node >= count) continue;
    const uint32_t value = Value(Unit(node));
    if (value >= results_.size()) continue;
    const std::string_view rest = results_.substr(value);
    rule = {i + 1, rest.substr(0, rest.find('\0'))};
  }
  return rule;
}

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceRules& rules)
    : rules_(rules), charsmap_(rules.charsmap), user_defined_(TokensOf(rules.user_defined)) {}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::Next(std::string_view text) const {
  if (const size_t bytes = user_defined_.LongestBytesAt(text); bytes > 0) {
    return {text.substr(0, bytes), bytes};
  }
  const Charsmap::Rule rule = charsmap_.Find(text);
  // A rule that ends inside a character would leave text that is not UTF-8.
  const bool whole = rule.bytes == text.size() ||
                     (rule.bytes > 0 && (static_cast<uint8_t>(text[rule.bytes]) & 0xC0) != 0x80);
  if (rule.bytes > 0 && whole) return {rule.result, rule.bytes};
  const auto bytes = static_cast<size_t>(FirstCodePoint(text).length_bytes);
  return {text.substr(0, bytes), bytes};
}

Result<std::string> SentencePieceNormalizer::Apply(std::string_view text, bool at_start) const {
  std::string out;
  while (rules_.remove_extra_spaces && !text.empty()) {
    const Prefix prefix = Next(text);
    if (prefix.result != " ") break;
    text.remove_prefix(prefix.bytes);
  }
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (rules_.dummy_prefix && (at_start || !rules_.prefix_once)) out += kPieceSpace;
  bool after_space = rules_.remove_extra_spaces;
  while (!text.empty()) {
    const Prefix prefix = Next(text);
    text.remove_prefix(prefix.bytes);
    std::string_view result = prefix.result;
    while (after_space && !result.empty() && result[0] == ' ') result.remove_prefix(1);
    if (result.empty()) continue;
    if (static_cast<int64_t>(out.size() + result.size()) > kNormalizedBytesMax)
      return TooLongNormalized();
    for (const char c : result) {
      if (c == ' ') {
        out += kPieceSpace;
      } else {
        out.push_back(c);
      }
    }
    after_space = rules_.remove_extra_spaces && result.back() == ' ';
  }
  while (rules_.remove_extra_spaces && out.ends_with(kPieceSpace)) {
    out.resize(out.size() - kPieceSpace.size());
  }
  return out;
}

}  // namespace octet::tokenizer
