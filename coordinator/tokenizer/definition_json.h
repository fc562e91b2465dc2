// From the text of a tokenizer.json to a Definition: the checking is here, so that what builds on a
// Definition can trust it.
#pragma once

#include <string_view>

#include "base/status.h"
#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/json_reader.h"

namespace octet::tokenizer {

// `config_json` is the text of tokenizer_config.json, or empty when there is none.
Result<Definition> ParseDefinition(std::string_view tokenizer_json, std::string_view config_json);

// The same from documents; a config that is null says nothing. `root.path()` ends in a colon.
Result<Definition> ParseDefinition(const JsonView& root, const JsonView& config);

// The parts of ParseDefinition that other files hold; `root` is the document's root.

// normalizer_json.cc
Status ParseNormalizer(const JsonView& root, Definition* definition);
// pipeline_json.cc. Sets definition->bpe.byte_level, which the pre-tokenizer decides.
Status ParsePreTokenizer(const JsonView& root, Definition* definition);
// Fills prefix_ids and suffix_ids. REQUIRES: definition->tokens is filled.
Status ParsePostProcessor(const JsonView& root, Definition* definition);
// decoder_json.cc. REQUIRES: byte_level is set.
Status ParseDecoder(const JsonView& root, Definition* definition);

}  // namespace octet::tokenizer
