// octet generate: one prompt to a running service, its answer on standard output as it comes.
#include <grpcpp/grpcpp.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/commands.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::launch {
namespace {

struct GenerateOptions {
  std::string prompt;
  std::string server = "127.0.0.1:50051";
  bool chat = false;
  std::string system;
  int64_t max_tokens = 128;
  double temperature = 0.0;
  std::optional<uint64_t> seed;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::vector<std::string> logit_bias;  // ID=BIAS
  std::optional<int64_t> min_tokens;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  std::optional<int32_t> logprobs;
  int32_t n = 1;
  std::optional<int32_t> priority;
  bool echo = false;
  bool ignore_eos = false;
  bool quiet = false;
};

template <typename Number>
bool ParseWhole(std::string_view text, Number* number) {
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, *number) == std::from_chars_result{end, std::errc()};
}

Status SetLogitBias(const std::vector<std::string>& entries, v1::SamplingParams* sampling) {
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    int32_t token = 0;
    float bias = 0;
    if (equals == std::string::npos ||
        !ParseWhole(std::string_view(entry).substr(0, equals), &token) ||
        !ParseWhole(std::string_view(entry).substr(equals + 1), &bias))
      return InvalidArgument("--logit-bias is '" + entry +
                             "'; it must be a token id, '=' and a number, like 42=-1.5");
    (*sampling->mutable_logit_bias())[token] = bias;
  }
  return {};
}

Result<v1::GenerateRequest> MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  const auto add_message = [&request](const char* role, const std::string& content) {
    v1::ChatMessage* message = request.mutable_chat()->add_messages();
    message->set_role(role);
    message->set_content(content);
  };
  if (!options.system.empty()) add_message("system", options.system);
  if (options.chat || !options.system.empty())
    add_message("user", options.prompt);
  else
    request.set_text(options.prompt);
  request.set_echo(options.echo);
  if (options.priority) request.set_priority(*options.priority);
  v1::SamplingParams* sampling = request.mutable_sampling_params();
  sampling->set_max_tokens(options.max_tokens);
  sampling->set_temperature(static_cast<float>(options.temperature));
  sampling->set_ignore_eos(options.ignore_eos);
  sampling->set_n(options.n);
  if (options.seed) sampling->set_seed(*options.seed);
  if (options.top_k) sampling->set_top_k(*options.top_k);
  if (options.top_p) sampling->set_top_p(*options.top_p);
  if (options.min_p) sampling->set_min_p(*options.min_p);
  if (options.repetition_penalty) sampling->set_repetition_penalty(*options.repetition_penalty);
  if (options.presence_penalty) sampling->set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) sampling->set_frequency_penalty(*options.frequency_penalty);
  OCTET_RETURN_IF_ERROR(SetLogitBias(options.logit_bias, sampling));
  if (options.min_tokens) sampling->set_min_tokens(*options.min_tokens);
  sampling->mutable_stop()->Add(options.stop.begin(), options.stop.end());
  sampling->mutable_stop_token_ids()->Add(options.stop_token_ids.begin(),
                                          options.stop_token_ids.end());
  if (options.logprobs) sampling->set_logprobs(*options.logprobs);
  return request;
}

void PrintText(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void PrintLogprobs(const v1::GenerateResponse::Chunk& chunk) {
  for (int i = 0; i < chunk.logprobs_size(); ++i) {
    const v1::TokenLogprobs& logprobs = chunk.logprobs(i);
    std::fprintf(stderr, "octet: answer %d, token %lld is %d: %.4f;", chunk.index(),
                 static_cast<long long>(chunk.first_position() + i), chunk.token_ids(i),
                 logprobs.logprob());
    for (int k = 0; k < logprobs.top_tokens_size(); ++k)
      std::fprintf(stderr, " %d=%.4f", logprobs.top_tokens(k), logprobs.top_logprobs(k));
    std::fprintf(stderr, "\n");
  }
}

// What the answers to one request have come to, and what of it is printed. One answer is printed as
// it comes; of several, each when all before it are complete, so that they do not mix.
class Answers {
 public:
  static std::string Separator(int32_t index) {
    std::string line = "\n--- ";
    line += std::to_string(index);
    return line += " ---\n";
  }

  explicit Answers(int32_t count) : count_(count) {}

  void Take(const v1::GenerateResponse::Chunk& chunk) {
    if (count_ == 1) return PrintText(chunk.text());
    texts_[chunk.index()] += chunk.text();
  }
  void Take(const v1::GenerateResponse::Complete& complete) {
    completes_[complete.index()] = complete;
    while (count_ > 1 && completes_.contains(printed_)) {
      if (printed_ > 0) PrintText(Separator(printed_));
      PrintText(texts_[printed_++]);
    }
  }
  const std::map<int32_t, v1::GenerateResponse::Complete>& completes() const { return completes_; }

 private:
  int32_t count_;
  int32_t printed_ = 0;
  std::map<int32_t, std::string> texts_;
  std::map<int32_t, v1::GenerateResponse::Complete> completes_;
};

void PrintUsage(const Answers& answers, double first_ms, double total_ms) {
  int64_t tokens = 0;
  int64_t prompt_tokens = 0;
  std::string reasons;
  for (const auto& [index, complete] : answers.completes()) {
    tokens += complete.usage().completion_tokens();
    prompt_tokens = complete.usage().prompt_tokens();
    if (!reasons.empty()) reasons += ", ";
    reasons += complete.finish_reason() == v1::FINISH_REASON_STOP ? "stop" : "length";
  }
  const double decode_s = (total_ms - first_ms) / 1000;
  std::fprintf(stderr, "octet: %lld prompt tokens, %lld generated (%s), first after %.0f ms",
               static_cast<long long>(prompt_tokens), static_cast<long long>(tokens),
               reasons.c_str(), first_ms);
  if (tokens > 1 && decode_s > 0)
    std::fprintf(stderr, ", then %.1f tokens/s", static_cast<double>(tokens - 1) / decode_s);
  std::fprintf(stderr, "\n");
}

int Generate(const GenerateOptions& options) {
  const Result<v1::GenerateRequest> request = MakeRequest(options);
  if (!request.ok()) return Fail(request.status());
  auto channel = grpc::CreateChannel(options.server, grpc::InsecureChannelCredentials());
  const auto stub = v1::Generation::NewStub(channel);
  grpc::ClientContext context;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed_ms = [&start] {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  };
  double first_ms = 0;
  const auto stream = stub->Generate(&context, *request);
  v1::GenerateResponse response;
  Answers answers(options.n);
  while (stream->Read(&response)) {
    if (response.has_prompt()) PrintText(response.prompt().text());
    if (response.has_chunk()) {
      if (first_ms == 0) first_ms = elapsed_ms();
      answers.Take(response.chunk());
      PrintLogprobs(response.chunk());
    }
    if (response.has_complete()) answers.Take(response.complete());
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return FailCall(options.server, status.error_code(), status.error_message());
  PrintText("\n");
  if (!options.quiet) PrintUsage(answers, first_ms, elapsed_ms());
  return 0;
}

void AddSamplingFlags(CLI::App* command, GenerateOptions* options) {
  command->add_option("--max-tokens", options->max_tokens, "tokens to generate at most")
      ->capture_default_str();
  command->add_option("--min-tokens", options->min_tokens, "no end before that many tokens");
  command->add_option("--temperature", options->temperature, "0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "the same seed gives the same tokens")
      ->check([](const std::string& text) {
        return text.rfind('-', 0) == 0 ? "is " + text + "; expected 0 or more" : "";
      });
  command->add_option("--top-k", options->top_k, "sample among the k likeliest tokens");
  command->add_option("--top-p", options->top_p, "sample among the likeliest of this probability");
  command->add_option("--min-p", options->min_p,
                      "leave out tokens below this share of the likeliest one's probability");
  command->add_option("--repetition-penalty", options->repetition_penalty,
                      "above 1: tokens of prompt and answer become less likely");
  command->add_option("--presence-penalty", options->presence_penalty,
                      "taken from the logit of every token that the answer has");
  command->add_option("--frequency-penalty", options->frequency_penalty,
                      "the same, as often as the answer has it");
  command
      ->add_option("--logit-bias", options->logit_bias,
                   "ID=BIAS, added to the logit of that token; may be given many times")
      ->allow_extra_args(false);
  command
      ->add_option("--stop", options->stop,
                   "a text that ends the answer and is not printed; may be given many times")
      ->allow_extra_args(false);
  command
      ->add_option("--stop-token-id", options->stop_token_ids,
                   "a token that ends the answer; may be given many times")
      ->allow_extra_args(false);
  command->add_flag("--ignore-eos", options->ignore_eos, "go on past the model's end token");
}

}  // namespace

void AddGenerate(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Send a prompt to a running service");
  command->add_option("prompt", options->prompt, "the text to go on from")->required();
  command->add_option("--server", options->server, "address of the service")->capture_default_str();
  command->add_flag("--chat", options->chat,
                    "the prompt is a user's message, put into the model's chat template");
  command->add_option("--system", options->system, "a system message before it; implies --chat");
  AddSamplingFlags(command, options.get());
  command
      ->add_option("--n", options->n,
                   "answers; more than one are printed whole, in order, with a line '--- K ---' "
                   "before each but the first")
      ->capture_default_str();
  command->add_option(
      "--logprobs", options->logprobs,
      "print on standard error, for each token, its log-probability and those of so "
      "many likeliest");
  command->add_flag("--echo", options->echo, "print the prompt before the answer");
  command->add_option("--priority", options->priority, "-100 to 100; lower goes first");
  command->add_flag("--quiet", options->quiet, "no line about tokens and time on standard error");
  command->callback([options, exit_code] { *exit_code = Generate(*options); });
}

}  // namespace octet::launch
