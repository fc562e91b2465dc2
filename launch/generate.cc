// octet generate: one prompt to a running service, its answer on standard output as it comes.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "launch/commands.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::launch {
namespace {

struct GenerateOptions {
  std::string prompt;
  std::string server = "127.0.0.1:50051";
  int64_t max_tokens = 128;
  double temperature = 0.0;
  std::optional<uint64_t> seed;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  bool ignore_eos = false;
  bool quiet = false;
};

v1::GenerateRequest MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_text(options.prompt);
  v1::SamplingParams* sampling = request.mutable_sampling_params();
  sampling->set_max_tokens(options.max_tokens);
  sampling->set_temperature(static_cast<float>(options.temperature));
  sampling->set_ignore_eos(options.ignore_eos);
  if (options.seed) sampling->set_seed(*options.seed);
  if (options.top_k) sampling->set_top_k(*options.top_k);
  if (options.top_p) sampling->set_top_p(*options.top_p);
  if (options.min_p) sampling->set_min_p(*options.min_p);
  return request;
}

void PrintUsage(const v1::GenerateResponse::Complete& complete, double first_ms, double total_ms) {
  const auto tokens = static_cast<double>(complete.usage().completion_tokens());
  const double decode_s = (total_ms - first_ms) / 1000;
  std::fprintf(stderr, "octet: %lld prompt tokens, %lld generated (%s), first after %.0f ms",
               static_cast<long long>(complete.usage().prompt_tokens()),
               static_cast<long long>(complete.usage().completion_tokens()),
               complete.finish_reason() == v1::FINISH_REASON_STOP ? "stop" : "length", first_ms);
  if (tokens > 1 && decode_s > 0)
    std::fprintf(stderr, ", then %.1f tokens/s", (tokens - 1) / decode_s);
  std::fprintf(stderr, "\n");
}

int Generate(const GenerateOptions& options) {
  auto channel = grpc::CreateChannel(options.server, grpc::InsecureChannelCredentials());
  const auto stub = v1::Generation::NewStub(channel);
  grpc::ClientContext context;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed_ms = [&start] {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  };
  double first_ms = 0;
  const auto stream = stub->Generate(&context, MakeRequest(options));
  v1::GenerateResponse response;
  std::optional<v1::GenerateResponse::Complete> complete;
  while (stream->Read(&response)) {
    if (response.has_chunk()) {
      if (first_ms == 0) first_ms = elapsed_ms();
      std::fwrite(response.chunk().text().data(), 1, response.chunk().text().size(), stdout);
      std::fflush(stdout);
    }
    if (response.has_complete()) complete = response.complete();
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) {
    const bool away = status.error_code() == grpc::StatusCode::UNAVAILABLE;
    return Fail({static_cast<StatusCode>(status.error_code()),
                 (away ? "the service at " + options.server + " is unavailable: " : std::string()) +
                     status.error_message()});
  }
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (complete && !options.quiet) PrintUsage(*complete, first_ms, elapsed_ms());
  return 0;
}

}  // namespace

void AddGenerate(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Send a prompt to a running service");
  command->add_option("prompt", options->prompt, "the text to go on from")->required();
  command->add_option("--server", options->server, "address of the service")->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "tokens to generate at most")
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "the same seed gives the same tokens");
  command->add_option("--top-k", options->top_k, "sample among the k likeliest tokens");
  command->add_option("--top-p", options->top_p, "sample among the likeliest of this probability");
  command->add_option("--min-p", options->min_p,
                      "leave out tokens below this share of the likeliest one's probability");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on past the model's end token");
  command->add_flag("--quiet", options->quiet, "no line about tokens and time on standard error");
  command->callback([options, exit_code] { *exit_code = Generate(*options); });
}

}  // namespace octet::launch
