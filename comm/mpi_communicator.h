// Ranks that are MPI processes. MPI starts the job and maps the memory; within one host the data
// path is a shared-memory window with the algorithms of shared_group.h, and no message is sent
// after start-up. Ranks on several hosts exchange messages (mpi_messages.h). Same bits either way.
//
// When a process of the group dies, the launcher (mpirun, Slurm) kills the job: that, or the stop
// flag, is what ends the others' waits. One thread per process calls MPI (MPI_THREAD_FUNNELED).
#pragma once

#include <atomic>
#include <memory>

#include "comm/communicator.h"

namespace octet::comm {

// MPI from construction to destruction: one per process, made by the thread that will call the
// communicators, destroyed after them. The destructor waits for all ranks.
class MpiRuntime {
 public:
  MpiRuntime(int* argc, char*** argv);
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // Among the ranks that share this host's memory, in the order of the job's ranks.
  int host_rank() const { return host_rank_; }
  int host_size() const { return host_size_; }
  // Those of them that may run on a core that this rank may run on, itself among them.
  int core_sharers() const { return core_sharers_; }

  // Whether `ok` holds on every rank; all ranks call it. For start-up, when ranks still fail alone.
  bool AllAgree(bool ok) const;

 private:
  int rank_ = 0;
  int size_ = 1;
  int host_rank_ = 0;
  int host_size_ = 1;
  int core_sharers_ = 1;
};

struct MpiOptions {
  bool force_messages = false;              // as if each rank were on a host of its own
  const std::atomic<bool>* stop = nullptr;  // see wait_word.h
};

// The communicator of the whole job. All ranks call it together, and destroy it together.
// REQUIRES: a live MpiRuntime; the same limits and force_messages everywhere.
std::unique_ptr<Communicator> MakeMpiCommunicator(const CommunicatorLimits& limits,
                                                  const MpiOptions& options = {});

}  // namespace octet::comm
