// Parts of a tokenizer.json that several of its stages are made of. normalizer_json.cc holds them.
#pragma once

#include <string>

#include "base/status.h"
#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/json_reader.h"

namespace octet::tokenizer {

struct Metaspace {
  std::string replacement;  // one character
  PreTokenizerStep::Prepend prepend = PreTokenizerStep::Prepend::kAlways;
  bool split = true;
};

Result<Metaspace> ReadMetaspace(const JsonView& node);

// Of "Replace", with a String as the pattern.
Result<Replacement> ReadReplacement(const JsonView& node);

// One character, as the library's `char`.
Result<std::string> ReadCharacter(const JsonView& member);

}  // namespace octet::tokenizer
