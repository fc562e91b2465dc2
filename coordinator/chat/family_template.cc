#include "coordinator/chat/family_template.h"

#include "base/file.h"
#include "base/json/json.h"
#include "coordinator/chat/limits.h"

namespace octet::chat {
namespace {

// make_context of Qwen v1's qwen_generation_utils.py with the format "chatml", and the system
// message that its chat() has by default.
constexpr const char* kQwen =
    "{% if not messages or messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// build_inputs of InternLM 1's modeling_internlm.py, as it has been since chat models of it know
// system messages.
constexpr const char* kInternLm =
    "{{ bos_token | default('<s>', true) }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}<|System|>:{{ message['content'] }}\n"
    "{% elif message['role'] == 'user' %}<|User|>:{{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}<|Bot|>:{{ message['content'] }}<eoa>\n"
    "{% else %}{{ raise_exception('InternLM has the roles system, user and assistant, not ' ~ "
    "message['role']) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Bot|>:{% endif %}";

Result<nlohmann::json> ReadObject(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return nlohmann::json::object();
  OCTET_ASSIGN_OR_RETURN(const std::string text,
                         ReadTextFile(path.string(), path.string(), kConfigBytesMax));
  OCTET_ASSIGN_OR_RETURN(
      nlohmann::json object,
      ParseJson(text, path.string(), {.bytes_max = kConfigBytesMax, .depth_max = kConfigDepthMax}));
  if (!object.is_object()) return InvalidArgument(path.string() + ": expected a JSON object");
  return object;
}

std::string TextOf(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string FamilyOf(const nlohmann::json& config) {
  const auto listed = config.find("architectures");
  if (listed != config.end() && listed->is_array() && !listed->empty() && (*listed)[0].is_string())
    return (*listed)[0].get<std::string>();
  const std::string type = TextOf(config, "model_type");
  if (type == "qwen") return "QWenLMHeadModel";
  if (type == "internlm") return "InternLMForCausalLM";
  return type == "opt" ? "OPTForCausalLM" : "";
}

}  // namespace

Result<FamilyTemplate> TemplateOfFamily(const std::filesystem::path& dir) {
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json config, ReadObject(dir / "config.json"));
  const std::string family = FamilyOf(config);
  if (family == "InternLMForCausalLM") return FamilyTemplate{kInternLm, {"<eoa>"}};
  if (family == "QWenLMHeadModel") {
    OCTET_ASSIGN_OR_RETURN(const nlohmann::json generation,
                           ReadObject(dir / "generation_config.json"));
    if (TextOf(generation, "chat_format") == "raw") {
      return NotFound(dir.string() +
                      ": the model is a base model of Qwen (chat_format `raw` in its "
                      "generation_config.json), which has no chat form; send a text as the prompt "
                      "instead");
    }
    return FamilyTemplate{kQwen, {"<|im_end|>", "<|im_start|>"}};
  }
  if (family == "OPTForCausalLM") {
    return NotFound(dir.string() +
                    ": models of the family OPT have no chat form; send a text as the prompt "
                    "instead");
  }
  return NotFound(dir.string() +
                  ": the model has no chat template, neither chat_template.jinja nor "
                  "`chat_template` in tokenizer_config.json; send a text as the prompt instead");
}

}  // namespace octet::chat
