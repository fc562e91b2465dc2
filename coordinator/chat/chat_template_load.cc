// A chat template from a checkpoint's folder.
#include <filesystem>

#include "base/file.h"
#include "base/json/json.h"
#include "coordinator/chat/chat_template_state.h"
#include "coordinator/chat/family_template.h"

namespace octet::chat {
namespace {

namespace fs = std::filesystem;

// The variables that transformers gives every template.
constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

Result<std::string> ReadFile(const fs::path& path, int64_t bytes_max) {
  return ReadTextFile(path.string(), path.string(), bytes_max);
}

// Sorted by key, unlike what templates are given: only some keys are looked up. Empty where there
// is no such file.
Result<nlohmann::json> ReadConfig(const fs::path& path) {
  if (std::error_code error; !fs::exists(path, error)) return nlohmann::json::object();
  OCTET_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  OCTET_ASSIGN_OR_RETURN(
      nlohmann::json config,
      ParseJson(text, path.string(), {.bytes_max = kConfigBytesMax, .depth_max = kConfigDepthMax}));
  if (!config.is_object()) return InvalidArgument(path.string() + ": expected a JSON object");
  return config;
}

// A special token is a text, or an object with its text as `content`. `map`,
// special_tokens_map.json, goes first where `config` does not list added tokens (as coordinator/
// tokenizer reads it), and has what else that does not name.
Json SpecialTokens(const nlohmann::json& config, const nlohmann::json& map) {
  const bool map_first = !config.contains("added_tokens_decoder");
  const nlohmann::json& first = map_first ? map : config;
  const nlohmann::json& second = map_first ? config : map;
  Json tokens = Json::object();
  for (const char* name : kSpecialTokens) {
    const nlohmann::json& named = first.contains(name) ? first : second;
    const auto token = named.find(name);
    if (token == named.end()) continue;
    if (token->is_string()) tokens[name] = token->get<std::string>();
    if (token->is_object() && token->contains("content") && (*token)["content"].is_string()) {
      tokens[name] = (*token)["content"].get<std::string>();
    }
  }
  return tokens;
}

struct Sources {
  std::string usual;
  std::string for_tools;
  std::vector<std::string> end_tokens;
};

// `listed` is the list of {name, template}.
Result<Sources> SourcesOf(const nlohmann::json& listed, const std::string& file) {
  Sources sources;
  for (const nlohmann::json& entry : listed) {
    const bool is_entry = entry.is_object() && entry.contains("name") &&
                          entry.contains("template") && entry["name"].is_string() &&
                          entry["template"].is_string();
    if (!is_entry) {
      return InvalidArgument(file + ": chat_template has an entry that is not {name, template}");
    }
    if (entry["name"] == "default") sources.usual = entry["template"].get<std::string>();
    if (entry["name"] == "tool_use") sources.for_tools = entry["template"].get<std::string>();
  }
  if (sources.usual.empty()) {
    return NotFound(file + ": chat_template has no template with the name `default`");
  }
  return sources;
}

Result<Sources> FindSources(const fs::path& dir, const nlohmann::json& config) {
  const std::string file = (dir / "tokenizer_config.json").string();
  std::error_code error;
  if (fs::exists(dir / "chat_template.jinja", error)) {
    OCTET_ASSIGN_OR_RETURN(std::string text,
                           ReadFile(dir / "chat_template.jinja", kConfigBytesMax));
    std::string for_tools;
    if (const fs::path more = dir / "additional_chat_templates" / "tool_use.jinja";
        fs::exists(more, error)) {
      OCTET_ASSIGN_OR_RETURN(for_tools, ReadFile(more, kConfigBytesMax));
    }
    return Sources{std::move(text), std::move(for_tools), {}};
  }
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    OCTET_ASSIGN_OR_RETURN(FamilyTemplate family, TemplateOfFamily(dir));
    return Sources{std::move(family.source), {}, std::move(family.end_tokens)};
  }
  if (found->is_string()) return Sources{found->get<std::string>(), {}, {}};
  if (found->is_array()) return SourcesOf(*found, file);
  return InvalidArgument(file + ": chat_template is " + found->type_name() +
                         ", expected a text or a list of {name, template}");
}

}  // namespace

Result<ChatTemplate> ChatTemplate::Load(const std::string& model_dir,
                                        const ChatTemplateLimits& limits) {
  const fs::path dir(model_dir);
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json config, ReadConfig(dir / "tokenizer_config.json"));
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json map, ReadConfig(dir / "special_tokens_map.json"));
  OCTET_ASSIGN_OR_RETURN(const Sources sources, FindSources(dir, config));
  auto state = std::make_unique<State>();
  state->limits = limits;
  state->special_tokens = SpecialTokens(config, map);
  state->end_tokens = sources.end_tokens;
  const auto parse = [&](const std::string& source) -> Result<Parsed> {
    auto parsed = ParseSource(source, limits);
    if (parsed.ok()) return parsed;
    return Status(parsed.status().code(), model_dir + ": " + parsed.status().message());
  };
  OCTET_ASSIGN_OR_RETURN(state->usual, parse(sources.usual));
  if (!sources.for_tools.empty()) {
    OCTET_ASSIGN_OR_RETURN(state->for_tools, parse(sources.for_tools));
  }
  return ChatTemplate(std::move(state));
}

}  // namespace octet::chat
