// The files under goldens/ and small tokenizers made in place, for the tests of this folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/tokenizer/tokenizer.h"

namespace octet::tokenizer {

constexpr auto kBad = StatusCode::kInvalidArgument;
constexpr auto kForeign = StatusCode::kUnimplemented;
constexpr auto kTooMuch = StatusCode::kResourceExhausted;

inline constexpr const char* kGoldenTokenizers[] = {
    "gpt2",      "llama3", "qwen2",    "flags",    "llama2",   "mistral3", "yi",
    "metaspace", "unk",    "sp_llama", "sp_rules", "sp_plain", "ranks"};

std::string ReadGolden(const std::string& name);
// The bytes of goldens/NAME.model.base64.
std::string ReadGoldenModel(const std::string& name);

// The tokenizer of goldens/NAME.tokenizer.json, NAME.model.base64 or NAME.tiktoken. Fails the
// process when it does not load.
Tokenizer LoadGolden(const std::string& name);

// A valid tokenizer.json to be broken: the 256 bytes (ids 0-255), "ab" (256) made by the one merge,
// and the special token "<|end|>" (257).
nlohmann::json SmallTokenizerJson();

}  // namespace octet::tokenizer
