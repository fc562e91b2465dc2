#include "coordinator/tokenizer/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

// What Rust's \w is, whose meaning single_word has.
constexpr const char* kWordCharacter = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";

int64_t TotalBytes(const std::vector<AddedToken>& tokens) {
  int64_t bytes = 0;
  for (const AddedToken& token : tokens) bytes += static_cast<int64_t>(token.content.size());
  return bytes;
}

size_t SkipSpaceBack(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const CodePoint c = LastCodePoint(text.substr(0, end));
    if (!IsWhiteSpace(c.value)) break;
    end -= static_cast<size_t>(c.length_bytes);
  }
  return std::max(end, floor);
}

size_t SkipSpace(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const CodePoint c = FirstCodePoint(text.substr(begin));
    if (!IsWhiteSpace(c.value)) break;
    begin += static_cast<size_t>(c.length_bytes);
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), edges_(TotalBytes(tokens_)), token_of_node_(1, -1) {
  bool any_single_word = false;
  for (size_t index = 0; index < tokens_.size(); ++index) {
    int32_t node = 0;
    for (const char c : tokens_[index].content) {
      const auto byte = static_cast<uint8_t>(c);
      const auto fresh = static_cast<int32_t>(token_of_node_.size());
      if (edges_.Insert(node, byte, static_cast<uint64_t>(fresh))) {
        token_of_node_.push_back(-1);
        node = fresh;
      } else {
        node = static_cast<int32_t>(*edges_.Get(node, byte));
      }
    }
    OCTET_CHECK_NE(node, 0);
    OCTET_CHECK_EQ(token_of_node_[node], -1);
    token_of_node_[node] = static_cast<int32_t>(index);
    begins_token_[static_cast<uint8_t>(tokens_[index].content[0])] = true;
    any_single_word |= tokens_[index].single_word;
    any_special_ |= tokens_[index].special;
  }
  if (any_single_word) {
    auto pattern = SplitPattern::CompilePcre2(kWordCharacter);
    OCTET_CHECK(pattern.ok());
    word_character_ = std::make_unique<const SplitPattern>(std::move(pattern).value());
  }
}

int32_t AddedTokens::LongestAt(std::string_view text) const {
  int32_t node = 0;
  int32_t longest = -1;
  for (const char c : text) {
    const uint64_t* next = edges_.Get(node, static_cast<uint8_t>(c));
    if (next == nullptr) break;
    node = static_cast<int32_t>(*next);
    if (token_of_node_[node] >= 0) longest = token_of_node_[node];
  }
  return longest;
}

size_t AddedTokens::LongestBytesAt(std::string_view text) const {
  if (text.empty() || !begins_token_[static_cast<uint8_t>(text[0])]) return 0;
  const int32_t index = LongestAt(text);
  return index < 0 ? 0 : tokens_[static_cast<size_t>(index)].content.size();
}

AddedTokens::Match AddedTokens::MatchAt(std::string_view text, size_t at,
                                        const ByteSpans& plain) const {
  int32_t index = LongestAt(text.substr(at));
  if (index < 0) return {};
  size_t bytes = tokens_[static_cast<size_t>(index)].content.size();
  if (!tokens_[static_cast<size_t>(index)].special) return {index, bytes};
  const ByteSpans touched = plain.Within(at, at + bytes);
  if (touched.empty()) return {index, bytes};
  const ByteSpans::Span first = touched.spans().front();
  // A match that is not taken still hides shorter ones inside it, as in the library, but none that
  // reach out of the plain text.
  if (first.begin == 0) return {-1, first.end == bytes ? bytes : 1};
  index = LongestAt(text.substr(at, first.begin));
  if (index < 0) return {};
  return {index, tokens_[static_cast<size_t>(index)].content.size()};
}

bool AddedTokens::IsWholeWord(std::string_view text, size_t begin, size_t end,
                              const MatchScratch& scratch) const {
  const auto is_word = [&](size_t at, CodePoint c) {
    return word_character_->Matches(text.substr(at, static_cast<size_t>(c.length_bytes)), scratch);
  };
  if (begin > 0) {
    const CodePoint c = LastCodePoint(text.substr(0, begin));
    if (is_word(begin - static_cast<size_t>(c.length_bytes), c)) return false;
  }
  return end == text.size() || !is_word(end, FirstCodePoint(text.substr(end)));
}

void AddedTokens::Split(std::string_view text, const ByteSpans& plain, const MatchScratch& scratch,
                        std::vector<Segment>* segments) const {
  size_t done = 0;       // everything before it is in a segment
  size_t space_end = 0;  // end of the white space that rstrip last walked over
  for (size_t at = 0; at < text.size();) {
    if (!begins_token_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = MatchAt(text, at, plain);
    size_t begin = at;
    size_t end = at + match.bytes;
    at = end;
    if (match.index < 0) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(match.index)];
    if (token.single_word && !IsWholeWord(text, begin, end, scratch)) continue;
    if (token.lstrip) begin = SkipSpaceBack(text, begin, done);
    if (token.rstrip) {
      // Tokens that are white space themselves match inside it again: walk over it once.
      if (end > space_end) space_end = SkipSpace(text, end);
      end = std::max(end, space_end);
    }
    end = std::max(begin, end);
    if (done < begin) segments->push_back({text.substr(done, begin - done)});
    segments->push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) segments->push_back({text.substr(done)});
}

}  // namespace octet::tokenizer
