// octet serve: starts the coordinator in this process, which starts and watches the worker group.
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/log.h"
#include "coordinator/serve.h"
#include "launch/commands.h"
#include "worker/engine/worker_flags.h"

namespace octet::launch {
namespace {

struct ServeFlags {
  coordinator::ServeOptions serve;
  worker::WorkerOptions worker;
};

// octet-worker lies beside octet.
std::string WorkerBinary() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "octet-worker" : (self.parent_path() / "octet-worker").string();
}

// A folder of one's own is made here, with those above it, and told to the ranks by its whole name.
Status PrepareWeightCache(std::string* weight_cache) {
  namespace fs = std::filesystem;
  if (*weight_cache == "auto" || *weight_cache == "none") return {};
  std::error_code error;
  const fs::path folder = fs::absolute(*weight_cache, error);
  if (!error) fs::create_directories(folder, error);
  if (error) {
    return InvalidArgument("--weight-cache: folder '" + *weight_cache +
                           "' can not be made: " + error.message());
  }
  *weight_cache = folder.string();
  return {};
}

int Serve(ServeFlags& flags) {
  const Status prepared = PrepareWeightCache(&flags.serve.weight_cache);
  if (!prepared.ok()) return Fail(prepared);
  flags.serve.worker_args = flags.worker.ToArguments();
  if (ProgressIsSeen()) flags.serve.worker_args.emplace_back("--send-progress");
  flags.serve.worker_args.insert(flags.serve.worker_args.end(), {"--model", flags.serve.model_dir});
  return coordinator::Serve(flags.serve);
}

}  // namespace

void AddServe(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<ServeFlags>();
  coordinator::ServeOptions& serve = flags->serve;
  serve.worker_binary = WorkerBinary();
  CLI::App* command = app.add_subcommand("serve", "Serve a checkpoint over gRPC");
  command->add_option("model,--model", serve.model_dir, "checkpoint directory")->required();
  command->add_option("--served-model-name", serve.served_model_name,
                      "the name clients see; default: the directory's");
  command->add_option("--tp,--tensor-parallel-size", serve.ranks, "ranks")->capture_default_str();
  command->add_option("--grpc", serve.grpc_address, "address to listen on")->capture_default_str();
  command
      ->add_option("--max-waiting", serve.max_waiting,
                   "sequences that may wait on top of those that run; a request has n")
      ->capture_default_str();
  command
      ->add_option("--stream-interval", serve.stream_interval,
                   "tokens of an answer that go out in one message; the first and the last do not "
                   "wait")
      ->capture_default_str();
  command
      ->add_option("--grace", serve.grace_seconds,
                   "seconds that running answers get to end after SIGTERM")
      ->capture_default_str();
  command
      ->add_option("--heartbeat-timeout", serve.heartbeat_seconds_max,
                   "seconds that a rank may be silent before its group is ended")
      ->capture_default_str();
  command
      ->add_option("--load-stall", serve.load_stall_seconds_max,
                   "seconds that no rank may get on with loading")
      ->capture_default_str();
  command
      ->add_option("--step-stall", serve.step_stall_seconds_max,
                   "seconds that no rank may get on with a step")
      ->capture_default_str();
  command
      ->add_option("--weight-cache,--cache-dir", serve.weight_cache,
                   "where ranks keep packed weights: auto (shared memory, until the service ends), "
                   "none, or a folder, which the next start finds again")
      ->capture_default_str();
  worker::AddWorkerFlags(*command, &flags->worker);
  command->callback([flags, exit_code] { *exit_code = Serve(*flags); });
}

}  // namespace octet::launch
