// octet stats: what a running service is doing, once, for a person or (--json) for a script.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/commands.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::launch {
namespace {

constexpr int kTimeoutMs = 5000;

struct StatsOptions {
  std::string server = "127.0.0.1:50051";
  bool json = false;
};

nlohmann::ordered_json ToJson(const v1::GetStatsResponse& stats) {
  nlohmann::ordered_json out = {
      {"serving", stats.serving()},
      {"uptime_seconds", stats.uptime_seconds()},
      {"requests_waiting", stats.requests_waiting()},
      {"requests_running", stats.requests_running()},
      {"requests_completed", stats.requests_completed()},
      {"requests_failed", stats.requests_failed()},
      {"requests_cancelled", stats.requests_cancelled()},
      {"kv_blocks", stats.kv_blocks()},
      {"kv_blocks_used", stats.kv_blocks_used()},
      {"kv_blocks_cached", stats.kv_blocks_cached()},
      {"prompt_tokens_per_second", stats.prompt_tokens_per_second()},
      {"generated_tokens_per_second", stats.generated_tokens_per_second()},
      {"rate_seconds", stats.rate_seconds()},
      {"prompt_tokens", stats.prompt_tokens()},
      {"generated_tokens", stats.generated_tokens()},
      {"steps", stats.steps()},
      {"preemptions", stats.preemptions()},
      {"prefix_queried_tokens", stats.prefix_queried_tokens()},
      {"prefix_hit_tokens", stats.prefix_hit_tokens()},
      {"groups_lost", stats.groups_lost()},
      {"last_loss", stats.last_loss()},
  };
  out["ranks"] = nlohmann::ordered_json::array();
  for (const v1::StatsOfRank& rank : stats.ranks()) {
    out["ranks"].push_back({{"rank", rank.rank()},
                            {"steps", rank.steps()},
                            {"step_ms", rank.step_ms()},
                            {"collective_ms", rank.collective_ms()},
                            {"sampling_ms", rank.sampling_ms()},
                            {"slowest_step_ms", rank.slowest_step_ms()},
                            {"heartbeat_age_seconds", rank.heartbeat_age_seconds()},
                            {"loaded", rank.loaded()}});
  }
  if (stats.has_last_recovery()) {
    const v1::RecoveryTimes& times = stats.last_recovery();
    out["last_recovery"] = {{"total_seconds", times.total_seconds()},
                            {"end_seconds", times.end_seconds()},
                            {"wait_seconds", times.wait_seconds()},
                            {"hello_seconds", times.hello_seconds()},
                            {"load_seconds", times.load_seconds()},
                            {"first_step_seconds", times.first_step_seconds()}};
  }
  return out;
}

double Percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

void Print(const v1::GetStatsResponse& stats) {
  const auto count = [](int64_t value) { return static_cast<long long>(value); };
  std::printf("%s, up %.0f s\n", stats.serving() ? "SERVING" : "NOT_SERVING",
              stats.uptime_seconds());
  std::printf(
      "requests    %lld running, %lld waiting; %lld completed, %lld failed, %lld cancelled\n",
      count(stats.requests_running()), count(stats.requests_waiting()),
      count(stats.requests_completed()), count(stats.requests_failed()),
      count(stats.requests_cancelled()));
  std::printf("tokens/s    %.1f of prompts, %.1f generated (over %.0f s)\n",
              stats.prompt_tokens_per_second(), stats.generated_tokens_per_second(),
              stats.rate_seconds());
  std::printf("tokens      %lld of prompts, %lld generated, %lld steps, %lld preemptions\n",
              count(stats.prompt_tokens()), count(stats.generated_tokens()), count(stats.steps()),
              count(stats.preemptions()));
  std::printf("KV blocks   %lld of %lld used (%.0f %%), %lld cached\n",
              count(stats.kv_blocks_used()), count(stats.kv_blocks()),
              Percent(stats.kv_blocks_used(), stats.kv_blocks()), count(stats.kv_blocks_cached()));
  std::printf("prefixes    %lld of %lld tokens found (%.0f %%)\n", count(stats.prefix_hit_tokens()),
              count(stats.prefix_queried_tokens()),
              Percent(stats.prefix_hit_tokens(), stats.prefix_queried_tokens()));
  for (const v1::StatsOfRank& rank : stats.ranks()) {
    if (rank.loaded() < 1)
      std::printf("rank %-6d has loaded %.0f %% of its weights; heard %.1f s ago\n", rank.rank(),
                  100 * rank.loaded(), rank.heartbeat_age_seconds());
    else
      std::printf(
          "rank %-6d %lld steps, %.2f ms each, %.2f ms of it in collectives, %.2f ms in sampling; "
          "the slowest %.2f ms without collectives; heard %.1f s ago\n",
          rank.rank(), count(rank.steps()), rank.step_ms(), rank.collective_ms(),
          rank.sampling_ms(), rank.slowest_step_ms(), rank.heartbeat_age_seconds());
  }
  if (!stats.last_loss().empty())
    std::printf("losses      %lld worker groups that served; the last: %s\n",
                count(stats.groups_lost()), stats.last_loss().c_str());
  if (stats.has_last_recovery())
    std::printf(
        "recovery    %.2f s, of which %.2f s to end the lost group, %.2f s of waiting, "
        "%.2f s to start, %.2f s to load, %.2f s for a step\n",
        stats.last_recovery().total_seconds(), stats.last_recovery().end_seconds(),
        stats.last_recovery().wait_seconds(), stats.last_recovery().hello_seconds(),
        stats.last_recovery().load_seconds(), stats.last_recovery().first_step_seconds());
}

int Stats(const StatsOptions& options) {
  const auto stub = v1::Generation::NewStub(
      grpc::CreateChannel(options.server, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kTimeoutMs));
  v1::GetStatsResponse stats;
  const grpc::Status status = stub->GetStats(&context, {}, &stats);
  if (!status.ok()) return FailCall(options.server, status.error_code(), status.error_message());
  if (options.json)
    std::printf("%s\n", ToJson(stats)
                            .dump(2, ' ', /*ensure_ascii=*/false,
                                  nlohmann::ordered_json::error_handler_t::replace)
                            .c_str());
  else
    Print(stats);
  return 0;
}

}  // namespace

void AddStats(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<StatsOptions>();
  CLI::App* command = app.add_subcommand("stats", "Say what a running service is doing");
  command->add_option("--server", options->server, "address of the service")->capture_default_str();
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, exit_code] { *exit_code = Stats(*options); });
}

}  // namespace octet::launch
