#include "coordinator/intake/stop_filter.h"

#include <algorithm>
#include <utility>

namespace octet::intake {

StopStrings::StopStrings(std::vector<std::string> texts) : texts_(std::move(texts)) {
  for (const std::string& text : texts_) {
    std::vector<uint16_t>& border = borders_.emplace_back(text.size(), 0);
    for (size_t i = 1; i < text.size(); ++i) {
      size_t length = border[i - 1];
      while (length > 0 && text[length] != text[i]) length = border[length - 1];
      border[i] = static_cast<uint16_t>(length + (text[length] == text[i] ? 1 : 0));
    }
  }
}

size_t StopStrings::Advance(size_t index, size_t matched, char byte) const {
  const std::string& text = texts_[index];
  while (matched > 0 && text[matched] != byte) matched = borders_[index][matched - 1];
  return text[matched] == byte ? matched + 1 : 0;
}

const std::string* StopFilter::Advance(char byte) {
  const std::string* longest = nullptr;
  for (size_t i = 0; i < matched_.size(); ++i) {
    const std::string& stop = stops_->text(i);
    matched_[i] = stops_->Advance(i, matched_[i], byte);
    if (matched_[i] < stop.size()) continue;
    matched_[i] = stops_->AfterWhole(i);
    if (longest == nullptr || stop.size() > longest->size()) longest = &stop;
  }
  return longest;
}

StopFilter::Piece StopFilter::Append(std::string_view text, bool may_stop) {
  Piece piece;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string* stop = Advance(text[i]);
    if (stop == nullptr || !may_stop) continue;
    held_.append(text.substr(0, i + 1));
    held_.resize(held_.size() - stop->size());
    piece.text = std::exchange(held_, {});
    piece.stop = stop;
    return piece;
  }
  held_.append(text);
  size_t kept = 0;
  for (const size_t matched : matched_) kept = std::max(kept, matched);
  piece.text = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return piece;
}

std::string StopFilter::Finish() { return std::exchange(held_, {}); }

}  // namespace octet::intake
