// The chat form of families whose checkpoints ship no template: their own code has it, and it is
// written out here as a template.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace octet::chat {

struct FamilyTemplate {
  std::string source;
  // Tokens at which an answer of this form ends, besides the model's own end tokens.
  std::vector<std::string> end_tokens;
};

// By `architectures` (or `model_type`) of the folder's config.json. NotFound, with why, for a
// family without a form.
Result<FamilyTemplate> TemplateOfFamily(const std::filesystem::path& dir);

}  // namespace octet::chat
