// octet-worker for tests of the launch: a FakeRank that mpirun can start. The environment says what
// it does wrong:
//   OCTET_FAKE_STEP_MS    milliseconds a step takes
//   OCTET_FAKE_HEARTBEAT_MS  milliseconds between heartbeats
//   OCTET_FAKE_SLOTS      sequences that can run at once, with blocks and rows for all of them
//   OCTET_FAKE_FAILURE    the sentence with which rank 0 fails to start
//   OCTET_FAKE_CRASH      rank 1 dies before its hello
//   OCTET_FAKE_SILENT     no rank ever says hello
//   OCTET_FAKE_PIDS       a folder where each rank leaves a file named after its process
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "tests/coordinator/support/fake_rank.h"

namespace {

std::string Variable(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value != nullptr ? value : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  octet::fakes::FakeRankOptions options;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--coordinator") == 0) options.address = argv[i + 1];
    if (std::strcmp(argv[i], "--epoch") == 0) options.epoch = std::stoull(argv[i + 1]);
  }
  options.own_process = true;
  options.secret = Variable("OCTET_LINK_SECRET", "");
  options.rank = std::stoi(Variable("OMPI_COMM_WORLD_RANK", "0"));
  options.ranks = std::stoi(Variable("OMPI_COMM_WORLD_SIZE", "1"));
  options.step_delay = std::chrono::milliseconds(std::stoi(Variable("OCTET_FAKE_STEP_MS", "0")));
  options.heartbeat_interval =
      std::chrono::milliseconds(std::stoi(Variable("OCTET_FAKE_HEARTBEAT_MS", "20")));
  if (const int slots = std::stoi(Variable("OCTET_FAKE_SLOTS", "0")); slots > 0) {
    octet::v1::ModelInfo& model = options.model;
    model.set_slots(slots);
    model.set_kv_blocks(slots * (model.context() / model.block_tokens()));
    model.set_step_rows_max(2 * slots);
  }
  if (options.rank == 0) options.failure = Variable("OCTET_FAKE_FAILURE", "");
  if (const std::string folder = Variable("OCTET_FAKE_PIDS", ""); !folder.empty())
    std::ofstream(folder + "/" + std::to_string(getpid())) << options.rank;
  std::fprintf(stderr, "fake rank %d of %d\n", options.rank, options.ranks);
  if (options.rank == 1 && !Variable("OCTET_FAKE_CRASH", "").empty()) {
    signal(SIGSEGV, SIG_DFL);  // a sanitizer would turn it into an exit
    raise(SIGSEGV);
  }
  if (!Variable("OCTET_FAKE_SILENT", "").empty()) pause();
  octet::fakes::FakeRank rank(options);
  const auto end = rank.Wait();
  return end.told_to_stop ? 0 : 1;
}
