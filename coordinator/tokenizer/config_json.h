// What tokenizer_config.json adds to the file that holds the vocabulary.
#pragma once

#include <set>
#include <string>

#include "base/status.h"
#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/json_reader.h"

namespace octet::tokenizer {

// bos_token and eos_token, and whether a text begins and ends with them: fills bos_id, eos_id,
// prefix_ids and suffix_ids. `vocab_file` is a name for messages. REQUIRES: the tokens are there,
// and what the post-processor adds.
Status ParseEnds(const JsonView& config, const std::string& vocab_file, Definition* definition);

// The texts of tokens that the config names as something (eos_token, additional_special_tokens),
// which makes them special.
std::set<std::string> NamedTokens(const JsonView& config);

}  // namespace octet::tokenizer
