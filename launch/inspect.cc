// octet inspect: what a checkpoint is, how its tensors are stored and will be kept, what every rank
// would hold of it, and what is wrong with it. Goes on behind a problem as far as it can. Reads
// headers and texts; values only if asked to.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/host_limits.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "coordinator/chat/chat_template.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "launch/commands.h"
#include "worker/engine/worker_options.h"
#include "worker/model/families/families.h"
#include "worker/weights/load_report.h"
#include "worker/weights/loader.h"
#include "worker/weights/static_kv_scales.h"

namespace octet::launch {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model;
  int64_t ranks = 1;
  std::string weights = "auto";
  std::string head = "auto";
  int64_t group = 0;
  bool check_values = false;
  bool json = false;
};

// Tensors that differ in nothing but the number of their layer.
struct TensorGroup {
  std::string name;  // "model.layers.*.mlp.up_proj.weight"
  std::string type;
  std::string shape;
  int64_t count = 0;
  int64_t bytes = 0;
};

struct RankShare {
  worker::ShardPlan shard;
  int64_t weight_bytes = 0;
};

struct Report {
  std::vector<TensorGroup> tensors;
  int64_t stored_bytes = 0;
  std::optional<worker::ModelSpec> spec;
  std::string quantization;  // empty: floats
  std::vector<std::pair<std::string, std::string>> kept;
  std::vector<RankShare> ranks;
  std::string kv_scales;
  std::string tokenizer;
  std::string chat_template;
  std::vector<std::string> problems;

  // The value, or null after noting what is wrong.
  template <typename T>
  T* Take(Result<T>& result) {
    if (result.ok()) return &*result;
    problems.push_back(result.status().message());
    return nullptr;
  }
};

// Numbers that are a whole part of a name become `*`.
std::string WithoutNumbers(const std::string& name) {
  std::string pattern;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool is_number =
        !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    pattern += (begin == 0 ? "" : ".") + (is_number ? "*" : part);
    begin = end + 1;
  }
  return pattern;
}

void ListTensors(const worker::Checkpoint& checkpoint, Report* report) {
  std::map<std::tuple<std::string, std::string, std::string>, TensorGroup> groups;
  for (const worker::Checkpoint::Tensor& tensor : checkpoint.tensors()) {
    const worker::TensorInfo& info = *tensor.info;
    const std::string name = WithoutNumbers(info.name);
    const std::string type(info.type_name());
    TensorGroup& group = groups[{name, type, info.shape_text()}];
    if (group.count == 0) group = {name, type, info.shape_text()};
    ++group.count;
    group.bytes += info.end - info.begin;
    report->stored_bytes += info.end - info.begin;
  }
  for (auto& [key, group] : groups) report->tensors.push_back(std::move(group));
}

std::string Describe(const kernels::LinearShape& shape) {
  std::string text(worker::WeightFormatName(shape.format));
  if (!kernels::IsQuantized(shape.format)) return text;
  text += " in groups of " + std::to_string(shape.group);
  text += shape.scale_format == kernels::ScaleFormat::kF16 ? ", f16 scales" : ", f32 scales";
  return text + (shape.asymmetric ? " and offsets" : "");
}

// What every rank would hold, and how.
void Divide(const InspectOptions& options, const worker::WeightOptions& weights, Report* report) {
  const worker::ModelSpec& spec = *report->spec;
  for (int64_t rank = 0; rank < options.ranks; ++rank) {
    Result<worker::ShardPlan> shard = worker::ShardPlan::Make(spec, options.ranks, rank);
    if (report->Take(shard) == nullptr) return;
    const int64_t bytes = worker::WeightPlan::Make(spec, *shard, weights).bytes();
    report->ranks.push_back({std::move(*shard), bytes});
  }
  const auto shapes = worker::DecoderShapes::Make(spec, report->ranks[0].shard, weights);
  report->kept = {
      {"q, k, v", Describe(shapes.qkv)},
      {"attention output", Describe(shapes.o) + (shapes.o_in_runs ? " (act-order)" : "")},
      {"gate, up", Describe(shapes.gate_up)},
      {"down", Describe(shapes.down)},
      {"head", Describe(shapes.head)},
      {"embedding", std::string(DTypeName(weights.embedding))}};
}

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Loads every rank, one after the other: NaN, infinity, zero scales and the like.
void CheckValues(const worker::Checkpoint& checkpoint, const worker::WeightOptions& weights,
                 Report* report) {
  ThreadPool pool(HostCores());
  for (const RankShare& rank : report->ranks) {
    worker::LoadReport progress(worker::LoadReport::Form::kBar, rank.weight_bytes);
    const Result<worker::DecoderWeights> loaded = worker::LoadDecoderWeights(
        checkpoint, *report->spec, rank.shard, weights, pool, [&](double fraction) {
          if (const auto text = progress.At(fraction, Now())) ShowProgress(*text);
        });
    ShowProgress("");  // a load that failed leaves a bar behind
    if (loaded.ok()) continue;
    report->problems.push_back(loaded.status().message());
    return;
  }
}

void InspectWeights(const InspectOptions& options, Report* report) {
  Result<worker::Checkpoint> checkpoint = worker::Checkpoint::Open(options.model);
  if (report->Take(checkpoint) == nullptr) return;
  ListTensors(*checkpoint, report);
  Result<worker::ModelSpec> spec =
      worker::SpecFromConfig(checkpoint->config_json(), checkpoint->generation_config_json());
  if (report->Take(spec) == nullptr) return;
  report->spec = std::move(*spec);
  report->kv_scales = worker::DescribeKvScales(*checkpoint, *report->spec);
  Result<worker::StoredModules> modules = worker::StoredModules::Open(*checkpoint, *report->spec);
  if (report->Take(modules) == nullptr) return;
  const worker::StoredTypes stored = worker::StoredTypesOf(*checkpoint, *modules, *report->spec);
  report->quantization = stored.quantization;
  Result<worker::WeightOptions> weights = worker::ResolveWeightOptions(
      stored, *report->spec,
      {.layers = options.weights, .head = options.head, .group = options.group});
  if (report->Take(weights) == nullptr) return;
  Divide(options, *weights, report);
  if (options.check_values && report->problems.empty()) {
    CheckValues(*checkpoint, *weights, report);
  }
}

void InspectTexts(const InspectOptions& options, Report* report) {
  Result<tokenizer::Tokenizer> tokenizer = tokenizer::Tokenizer::Load(options.model);
  if (report->Take(tokenizer) != nullptr) {
    report->tokenizer = std::to_string(tokenizer->vocab_size()) + " ids";
    if (report->spec.has_value() && tokenizer->vocab_size() > report->spec->vocab) {
      report->problems.push_back("the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                                 " ids, the model's vocabulary only " +
                                 std::to_string(report->spec->vocab));
    }
  }
  const Result<chat::ChatTemplate> chat = chat::ChatTemplate::Load(options.model);
  const bool is_missing = !chat.ok() && chat.status().code() == StatusCode::kNotFound;
  // Without one the model is served all the same; chats are refused.
  report->chat_template = chat.ok()    ? "there is one"
                          : is_missing ? "none"
                                       : "cannot be read: " + chat.status().message();
}

std::string Shape(const worker::ModelSpec& s) {
  std::string text = s.architecture + ": " + std::to_string(s.layers) + " layers, hidden " +
                     std::to_string(s.hidden) + ", " + std::to_string(s.heads) + " heads of " +
                     std::to_string(s.head_dim) + " over " + std::to_string(s.kv_heads) +
                     " kv heads, ffn " + std::to_string(s.ffn) + ", vocabulary " +
                     std::to_string(s.vocab) + ", context " + std::to_string(s.context);
  if (s.sliding_window > 0) text += ", sliding window " + std::to_string(s.sliding_window);
  return text;
}

void Print(const Report& report) {
  if (report.spec.has_value()) std::printf("%s\n", Shape(*report.spec).c_str());
  if (!report.tensors.empty()) {
    std::printf("stored: %s, %lld bytes\n",
                report.quantization.empty() ? "not quantized" : report.quantization.c_str(),
                static_cast<long long>(report.stored_bytes));
    size_t width = 6;
    for (const TensorGroup& group : report.tensors) width = std::max(width, group.name.size());
    std::printf("%-*s %6s %5s %-16s %16s\n", static_cast<int>(width), "tensor", "count", "type",
                "shape", "bytes");
    for (const TensorGroup& group : report.tensors) {
      std::printf("%-*s %6lld %5s %-16s %16lld\n", static_cast<int>(width), group.name.c_str(),
                  static_cast<long long>(group.count), group.type.c_str(), group.shape.c_str(),
                  static_cast<long long>(group.bytes));
    }
  }
  for (const auto& [part, how] : report.kept)
    std::printf("kept: %-16s %s\n", part.c_str(), how.c_str());
  if (!report.ranks.empty()) {
    std::printf("%4s %6s %8s %7s %7s %16s\n", "rank", "heads", "kv heads", "ffn", "vocab",
                "weight bytes");
    for (const RankShare& rank : report.ranks) {
      std::printf(
          "%4lld %6lld %8lld %7lld %7lld %16lld\n", static_cast<long long>(rank.shard.rank),
          static_cast<long long>(rank.shard.heads()), static_cast<long long>(rank.shard.kv_heads()),
          static_cast<long long>(rank.shard.ffn()), static_cast<long long>(rank.shard.vocab()),
          static_cast<long long>(rank.weight_bytes));
    }
  }
  if (!report.kv_scales.empty()) std::printf("KV scales: %s\n", report.kv_scales.c_str());
  if (!report.tokenizer.empty()) std::printf("tokenizer: %s\n", report.tokenizer.c_str());
  std::printf("chat template: %s\n", report.chat_template.c_str());
  if (report.problems.empty()) std::printf("nothing wrong was found\n");
  for (const std::string& problem : report.problems) std::printf("wrong: %s\n", problem.c_str());
}

Json ToJson(const Report& report) {
  Json out;
  if (report.spec.has_value()) {
    const worker::ModelSpec& s = *report.spec;
    out["architecture"] = s.architecture;
    out["layers"] = s.layers;
    out["hidden"] = s.hidden;
    out["heads"] = s.heads;
    out["kv_heads"] = s.kv_heads;
    out["head_dim"] = s.head_dim;
    out["ffn"] = s.ffn;
    out["vocab"] = s.vocab;
    out["context_tokens"] = s.context;
  }
  out["quantization"] = report.quantization;
  out["stored_bytes"] = report.stored_bytes;
  out["tensors"] = Json::array();
  for (const TensorGroup& group : report.tensors) {
    out["tensors"].push_back({{"name", group.name},
                              {"count", group.count},
                              {"type", group.type},
                              {"shape", group.shape},
                              {"bytes", group.bytes}});
  }
  out["kept"] = Json::object();
  for (const auto& [part, how] : report.kept) out["kept"][part] = how;
  out["ranks"] = Json::array();
  for (const RankShare& rank : report.ranks) {
    out["ranks"].push_back({{"rank", rank.shard.rank},
                            {"heads", rank.shard.heads()},
                            {"kv_heads", rank.shard.kv_heads()},
                            {"ffn", rank.shard.ffn()},
                            {"vocab", rank.shard.vocab()},
                            {"weight_bytes", rank.weight_bytes}});
  }
  out["kv_scales"] = report.kv_scales;
  out["tokenizer"] = report.tokenizer;
  out["chat_template"] = report.chat_template;
  out["problems"] = report.problems;
  return out;
}

int Inspect(const InspectOptions& options) {
  const Status ranks = worker::CheckRange("--tp", options.ranks, 1, worker::kRanksMax);
  if (!ranks.ok()) return Fail(ranks);
  Report report;
  InspectWeights(options, &report);
  InspectTexts(options, &report);
  if (options.json) {
    std::printf("%s\n", ToJson(report).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    Print(report);
  }
  return report.problems.empty() ? 0 : 2;
}

}  // namespace

void AddInspect(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Say what a checkpoint is, how it is stored and divided, and what is wrong with it");
  command->add_option("model", options->model, "checkpoint directory")->required();
  command->add_option("--tp,--tensor-parallel-size", options->ranks, "ranks")
      ->capture_default_str();
  command->add_option("--weights", options->weights, "as for octet serve")->capture_default_str();
  command->add_option("--head", options->head, "as for octet serve")->capture_default_str();
  command->add_option("--group-size", options->group, "as for octet serve")->capture_default_str();
  command->add_flag("--check-values", options->check_values,
                    "read all weights too, in the memory of one rank");
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options, exit_code] { *exit_code = Inspect(*options); });
}

}  // namespace octet::launch
