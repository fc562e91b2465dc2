// A model folder that holds no model, only a tokenizer: the 256 bytes as tokens 0 to 255 and the
// special token 256, "<|end|>". Removed with the object.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"
#include "tests/support/temp_folder.h"

namespace octet::fakes {

std::string TinyTokenizerJson();
tokenizer::Tokenizer TinyTokenizer();
// The tokens of a text under it.
std::vector<int32_t> BytesAsTokens(std::string_view text);

class TinyModel {
 public:
  TinyModel();
  const std::string& path() const { return dir_.path(); }

 private:
  test::TempFolder dir_;
};

}  // namespace octet::fakes
