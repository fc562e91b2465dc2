#include "worker/model/families/families.h"

#include <algorithm>
#include <array>

#include "base/json/json.h"
#include "worker/model/families/config_reader.h"
#include "worker/model/families/llama_like.h"
#include "worker/model/families/refusals.h"

namespace octet::worker {
namespace {

constexpr int64_t kEosIdsMax = 64;

std::array<const Family*, 9> Families() {
  return {&kInternLm, &kInternLm2, &kLlama, &kMistral, &kOpt, &kQwen, &kQwen2, &kQwen3, &kYi};
}

std::string Supported() {
  std::string names;
  for (const Family* family : Families()) {
    names += (names.empty() ? "" : ", ") + std::string(family->architecture);
  }
  return names;
}

Result<const Family*> FindFamily(const ConfigReader& config) {
  const nlohmann::json* list = config.Find("architectures");
  if (list != nullptr && (!list->is_array() || list->empty() || !list->front().is_string())) {
    return config.Unexpected("architectures", "a list of at least one name");
  }
  OCTET_ASSIGN_OR_RETURN(const std::string type, config.String("model_type", ""));
  const std::string found = list == nullptr ? type : list->front().get<std::string>();
  if (found.empty()) return config.Unexpected("architectures", "one of " + Supported());
  for (const Family* family : Families()) {
    if (found == (list == nullptr ? family->model_type : family->architecture)) return family;
  }
  OCTET_RETURN_IF_ERROR(RefuseOtherKinds(config, found));
  return Unimplemented(config.what() + ": " + (list == nullptr ? "model_type " : "architecture ") +
                       Quoted(found) + " is not supported; supported are " + Supported());
}

// Adds the end tokens under eos_token_id, an id or a list of ids, that are not there yet.
Status AddEndTokens(const ConfigReader& config, ModelSpec* spec) {
  const nlohmann::json* found = config.Find("eos_token_id");
  if (found == nullptr) return {};
  const nlohmann::json ids = found->is_array() ? *found : nlohmann::json::array({*found});
  if (static_cast<int64_t>(ids.size()) > kEosIdsMax) {
    return config.Unexpected("eos_token_id", "at most " + std::to_string(kEosIdsMax) + " ids");
  }
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(spec->vocab)) {
      return config.Unexpected("eos_token_id",
                               "one or more token ids in [0, " + std::to_string(spec->vocab) + ")");
    }
    const auto token = id.get<int32_t>();
    std::vector<int32_t>& known = spec->eos_ids;
    if (std::find(known.begin(), known.end(), token) == known.end()) known.push_back(token);
  }
  return {};
}

Result<nlohmann::json> ParseObject(const std::string& text, const std::string& what) {
  OCTET_ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, what));
  if (!value.is_object()) return InvalidArgument(what + ": is " + Shown(value) + ", not an object");
  return value;
}

}  // namespace

Result<ModelSpec> SpecFromConfig(const std::string& config_json,
                                 const std::optional<std::string>& generation_config_json) {
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json object, ParseObject(config_json, "config.json"));
  const ConfigReader config(object, "config.json");
  OCTET_ASSIGN_OR_RETURN(const Family* family, FindFamily(config));
  OCTET_RETURN_IF_ERROR(RefuseOtherKinds(config, family->architecture));
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, family->read(config));
  spec.architecture = family->architecture;
  OCTET_RETURN_IF_ERROR(AddEndTokens(config, &spec));
  OCTET_ASSIGN_OR_RETURN(const int64_t bos, config.Int("bos_token_id", 0, spec.vocab - 1, -1));
  spec.bos_id = static_cast<int32_t>(bos);
  if (generation_config_json.has_value()) {
    OCTET_ASSIGN_OR_RETURN(const nlohmann::json generation,
                           ParseObject(*generation_config_json, "generation_config.json"));
    OCTET_RETURN_IF_ERROR(AddEndTokens(ConfigReader(generation, "generation_config.json"), &spec));
  }
  return spec;
}

TensorNames NamesOf(const ModelSpec& spec) {
  for (const Family* family : Families()) {
    if (spec.architecture == family->architecture) return family->names(spec);
  }
  return LlamaNames(spec);
}

}  // namespace octet::worker
