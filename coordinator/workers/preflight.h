// What this machine must have before a worker group is started on it: without it mpirun or a rank
// dies later, of a signal and without a reason. Looks, and changes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace octet::workers {

// Measured with Open MPI 4.1 and the demo model: mpirun has 22 files open and three more per rank,
// we have 19, one more per rank and one per client.
inline constexpr int64_t kOpenFilesMin = 64;
inline constexpr int64_t kOpenFilesPerRank = 4;
// A rank's segment has 4 MiB; the area of the collectives is on top and grows with the model.
inline constexpr int64_t kSharedMemoryBytesPerRank = int64_t{8} << 20;
// mpirun's own files: 8.4 MiB at two ranks.
inline constexpr int64_t kTemporaryBytesMin = int64_t{16} << 20;

struct HostPlaces {
  std::string temporary;  // where sessions are made
  std::string shared_memory = "/dev/shm";
};

// FailedPrecondition: what there is, what is needed, and what to do. A folder for shared memory
// that is not there or can not be written is no fault: the temporary one takes its place.
Status CheckHost(int64_t ranks, const HostPlaces& places);

}  // namespace octet::workers
