// octet serve: starts the coordinator in this process, which starts and watches the worker group.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "coordinator/serve.h"
#include "launch/commands.h"
#include "worker/engine/worker_flags.h"

namespace octet::launch {
namespace {

struct ServeFlags {
  coordinator::ServeOptions serve;
  std::string mpirun_args;
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

// What is wrong with an address that ranks of other hosts are to dial; empty: nothing.
std::string CheckLink(const std::string& address) {
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool is_port = !port.empty() && port.size() <= 5 && port != "0" &&
                       port.find_first_not_of("0123456789") == std::string::npos;
  if (is_port && !host.empty() && host != "0.0.0.0" && host != "[::]") return "";
  if (address.starts_with("unix:/")) return "";
  return "it is '" + address +
         "'; expected is an address that the ranks' hosts reach, with a port, like 10.0.0.1:50052";
}

// Ranks that someone else starts have to know where to dial in, and what to say.
Status CheckExternal(const coordinator::ServeOptions& serve) {
  if (serve.launcher != "external") return {};
  const char* secret = std::getenv("OCTET_LINK_SECRET");
  if (!serve.link_address.empty() && secret != nullptr && *secret != '\0') return {};
  return InvalidArgument(
      "--launcher external: expected are --link, where the ranks dial in, and a secret in the "
      "environment's OCTET_LINK_SECRET, which they have too");
}

// Ranks that mpirun starts elsewhere can not dial in at a socket of this host.
Status CheckHosts(const coordinator::ServeOptions& serve) {
  if (!serve.link_address.empty()) return {};
  static constexpr std::string_view kNamesHosts[] = {
      "--hostfile", "-hostfile", "--machinefile", "-machinefile", "--host", "-host", "-H"};
  for (const std::string& word : serve.launcher_args) {
    if (std::ranges::find(kNamesHosts, word) == std::end(kNamesHosts)) continue;
    return InvalidArgument("--mpirun-args has " + word +
                           ": expected is --link too, an address of this host and a port, where "
                           "ranks on other hosts dial in");
  }
  return {};
}

// Words between spaces; no quoting.
std::vector<std::string> SplitWords(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
}

int Serve(ServeFlags& flags) {
  if (const Status external = CheckExternal(flags.serve); !external.ok()) return Fail(external);
  flags.serve.launcher_args = SplitWords(flags.mpirun_args);
  if (const Status hosts = CheckHosts(flags.serve); !hosts.ok()) return Fail(hosts);
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
  command
      ->add_option("--link", serve.link_address,
                   "where ranks dial in that run on other hosts: an address of this host and a "
                   "port, like 10.0.0.1:50052; default: a socket of this host")
      ->check(CheckLink);
  command
      ->add_option("--launcher", serve.launcher,
                   "what starts the ranks: mpirun, by name or path, or external: someone else does")
      ->capture_default_str();
  command->add_option("--mpirun-args", flags->mpirun_args,
                      "more for mpirun, which overrides what it is told anyway, like '--hostfile "
                      "hosts.txt' (with --link) or '--bind-to numa'");
  worker::AddWorkerFlags(*command, &flags->worker);
  command->callback([flags, exit_code] { *exit_code = Serve(*flags); });
}

}  // namespace octet::launch
