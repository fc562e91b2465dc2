#include "comm/mpi_communicator.h"

#include <mpi.h>

#include <vector>

#include "base/check.h"
#include "base/host_limits.h"
#include "comm/mpi_check.h"
#include "comm/mpi_messages.h"
#include "comm/shared_group.h"

namespace octet::comm {
namespace {

// The ranks of this host, in the order of the job's ranks.
class HostRanks {
 public:
  HostRanks() {
    int rank = 0;
    OCTET_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    OCTET_MPI(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &comm_));
    OCTET_MPI(MPI_Comm_rank(comm_, &rank_));
    OCTET_MPI(MPI_Comm_size(comm_, &size_));
  }
  ~HostRanks() { OCTET_MPI(MPI_Comm_free(&comm_)); }
  HostRanks(const HostRanks&) = delete;
  HostRanks& operator=(const HostRanks&) = delete;

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

// Of this process, and of the others of its host: how many may run on its cores.
int CountCoreSharers(const HostRanks& host) {
  const CoreSet own = OwnCores();
  std::vector<CoreSet> all(static_cast<size_t>(host.size()));
  OCTET_MPI(
      MPI_Allgather(&own, sizeof(own), MPI_BYTE, all.data(), sizeof(own), MPI_BYTE, host.comm()));
  return SharersOf(own, all);
}

// Memory that all ranks of a host map; the first of them holds it all, so that it is contiguous.
// Freed by all together.
std::shared_ptr<std::byte> MakeWindow(const HostRanks& host, int64_t bytes) {
  void* own = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  OCTET_MPI(MPI_Win_allocate_shared(host.rank() == 0 ? bytes : 0, 1, MPI_INFO_NULL, host.comm(),
                                    &own, &window));
  MPI_Aint held_bytes = 0;
  int unit = 0;
  void* data = nullptr;
  OCTET_MPI(MPI_Win_shared_query(window, 0, &held_bytes, &unit, &data));
  OCTET_CHECK_GE(static_cast<int64_t>(held_bytes), bytes);
  OCTET_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, window));  // one epoch of loads and stores, for good
  const auto free_window = [window](std::byte*) mutable {
    OCTET_MPI(MPI_Win_unlock_all(window));
    OCTET_MPI(MPI_Win_free(&window));
  };
  return {static_cast<std::byte*>(data), free_window};
}

}  // namespace

MpiRuntime::MpiRuntime(int* argc, char*** argv) {
  int provided = 0;
  OCTET_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  OCTET_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));  // heirs inherit it
  OCTET_CHECK_GE(provided, static_cast<int>(MPI_THREAD_FUNNELED));
  OCTET_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  OCTET_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size_));
  const HostRanks host;
  host_rank_ = host.rank();
  host_size_ = host.size();
  core_sharers_ = CountCoreSharers(host);
}

MpiRuntime::~MpiRuntime() { OCTET_MPI(MPI_Finalize()); }

bool MpiRuntime::AllAgree(bool ok) const {
  const int own = ok ? 1 : 0;
  int all = 0;
  OCTET_MPI(MPI_Allreduce(&own, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD));
  return all == 1;
}

std::unique_ptr<Communicator> MakeMpiCommunicator(const CommunicatorLimits& limits,
                                                  const MpiOptions& options) {
  int ranks = 0;
  OCTET_MPI(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
  OCTET_CHECK_GE(limits.threads_per_rank, 1);
  const HostRanks host;
  if (host.size() < ranks || options.force_messages) {
    return MakeMessageCommunicator(limits, options.stop);
  }
  const std::shared_ptr<std::byte> region = MakeWindow(host, SharedRegionBytes(limits, ranks));
  if (host.rank() == 0) SharedGroup::Initialize(region.get());
  OCTET_MPI(MPI_Barrier(host.comm()));  // nobody arrives before the header is laid
  return std::make_unique<SharedGroup>(region, host.rank(), ranks, limits, options.stop);
}

}  // namespace octet::comm
