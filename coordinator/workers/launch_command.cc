#include "coordinator/workers/launch_command.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace octet::workers {
namespace {

bool IsProgram(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0;
}

bool IsUnset(const char* name) {
  const char* value = getenv(name);
  return value == nullptr || *value == '\0';
}

void Append(std::vector<std::string>* to, std::initializer_list<std::string> more) {
  to->insert(to->end(), more);
}

// Empty: none. Without shared memory of its own the session lies on a disk, where nobody asked for
// files of a model's size; other hosts have no folder of the session at all.
std::string PackedDir(const LaunchOptions& options, const LaunchIdentity& identity) {
  if (options.weight_cache == kWeightCacheNone) return "";
  if (options.weight_cache != kWeightCacheAuto) return options.weight_cache;
  if (!identity.on_this_host() || identity.shared_memory_path == identity.session_path) return "";
  return identity.shared_memory_path + "/weights";
}

}  // namespace

std::string FindProgram(const std::string& program) {
  if (program.find('/') != std::string::npos) return IsProgram(program) ? program : "";
  const char* path = getenv("PATH");
  std::string rest = path != nullptr ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/" + program;
    if (IsProgram(candidate)) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

Status CheckLaunchable(const LaunchOptions& options) {
  if (FindProgram(options.launcher).empty())
    return FailedPrecondition("the launcher '" + options.launcher +
                              "' is not a program in PATH; Open MPI's mpirun is expected "
                              "(Debian: openmpi-bin)");
  if (FindProgram(options.worker_binary).empty())
    return FailedPrecondition("the worker '" + options.worker_binary +
                              "' is not a program; it is built beside the other binaries");
  return {};
}

ProcessOptions LaunchCommand(const LaunchOptions& options, const LaunchIdentity& identity) {
  ProcessOptions out;
  out.output_source = "workers";
  std::vector<std::string>& command = out.arguments;
  command = {options.launcher};
  Append(&command, {"-n", std::to_string(options.ranks), "--bind-to", "none", "--oversubscribe",
                    "--stdin", "none"});
  // Ranks of one machine share memory; copying across process borders needs ptrace rights that
  // containers withhold.
  Append(&command, {"--mca", "btl_vader_single_copy_mechanism", "none"});
  if (identity.on_this_host()) {
    Append(&command, {"--mca", "btl_vader_backing_directory", identity.shared_memory_path});
    Append(&command, {"--mca", "osc_sm_backing_directory", identity.shared_memory_path});
    Append(&command, {"--mca", "orte_tmpdir_base", identity.session_path});
  } else {
    Append(&command, {"-x", kSecretVariable});  // other hosts get no environment but what is named
  }
  // Between SIGTERM and SIGKILL. Ranks that outlive one of them have nothing left to do in order.
  Append(&command, {"--mca", "odls_base_sigkill_timeout", "0"});
  // mpirun looks for a remote shell even when it starts nothing elsewhere, and gives up without
  // one.
  if (FindProgram("ssh").empty() && FindProgram("rsh").empty() && IsUnset("OMPI_MCA_plm_rsh_agent"))
    Append(&command, {"--mca", "plm_rsh_agent", "/bin/false"});
  if (geteuid() == 0) command.emplace_back("--allow-run-as-root");
  command.insert(command.end(), options.launcher_args.begin(), options.launcher_args.end());
  Append(&command, {options.worker_binary, "--coordinator", identity.link_address, "--epoch",
                    std::to_string(identity.epoch)});
  if (const std::string packed_dir = PackedDir(options, identity); !packed_dir.empty())
    Append(&command, {"--packed-dir", packed_dir});
  command.insert(command.end(), options.worker_args.begin(), options.worker_args.end());

  out.environment.push_back(std::string(kSecretVariable) + "=" + identity.secret);
  // In place of orte_tmpdir_base, which counts on all hosts.
  if (!identity.on_this_host()) out.environment.push_back("TMPDIR=" + identity.session_path);
  if (IsUnset("HOME")) out.environment.push_back("HOME=" + identity.session_path);
  return out;
}

}  // namespace octet::workers
