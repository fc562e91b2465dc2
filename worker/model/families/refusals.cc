#include "worker/model/families/refusals.h"

#include <array>

#include "base/json/json.h"

namespace octet::worker {
namespace {

constexpr const char* kExperts = "a mixture of experts";
constexpr const char* kOtherInput = "a model of images or sound";

// A part of an architecture's name, and what a model so named is.
struct NamedKind {
  const char* part;
  const char* kind;
};
constexpr std::array kNamedKinds = {
    NamedKind{"Moe", kExperts},
    NamedKind{"MoE", kExperts},
    NamedKind{"Mixtral", kExperts},
    NamedKind{"DeepseekV", kExperts},
    NamedKind{"GptOss", kExperts},
    NamedKind{"Dbrx", kExperts},
    NamedKind{"Arctic", kExperts},
    NamedKind{"Grok", kExperts},
    NamedKind{"Jamba", kExperts},
    NamedKind{"ForConditionalGeneration", kOtherInput},
    NamedKind{"Llava", kOtherInput},
    NamedKind{"Vision", kOtherInput},
    NamedKind{"VL", kOtherInput},
    NamedKind{"Audio", kOtherInput},
    NamedKind{"Mamba", "a state-space model"},
    NamedKind{"Rwkv", "a recurrent model"},
};

// A key that says the same of a model whose architecture has a name that is known.
// A number up to 1 says nothing.
struct KeyOfKind {
  const char* key;
  const char* kind;
};
constexpr std::array kKeysOfKinds = {
    KeyOfKind{"num_experts", kExperts},      KeyOfKind{"num_local_experts", kExperts},
    KeyOfKind{"n_routed_experts", kExperts}, KeyOfKind{"moe_num_experts", kExperts},
    KeyOfKind{"vision_config", kOtherInput}, KeyOfKind{"audio_config", kOtherInput},
    KeyOfKind{"visual", kOtherInput},        KeyOfKind{"audio", kOtherInput},
};

}  // namespace

Status RefuseOtherKinds(const ConfigReader& config, const std::string& architecture) {
  for (const NamedKind& named : kNamedKinds) {
    if (architecture.find(named.part) == std::string::npos) continue;
    return Unimplemented(config.what() + ": architecture " + Quoted(architecture) + " is " +
                         named.kind + ", which is not supported");
  }
  for (const KeyOfKind& of : kKeysOfKinds) {
    const nlohmann::json* value = config.Find(of.key);
    if (value == nullptr || (value->is_number() && value->get<double>() <= 1.0)) continue;
    return Unimplemented(config.what() + ": architecture " + Quoted(architecture) +
                         " with the key \"" + of.key + "\" is " + of.kind +
                         ", which is not supported");
  }
  return {};
}

}  // namespace octet::worker
