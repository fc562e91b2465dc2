// Which process of a job this one is, as the launcher says it in the environment: known before MPI
// is initialized, which is the first thing that can hang. Open MPI, PRRTE, MPICH and Intel MPI
// (also under Slurm's PMI) are understood.
#pragma once

#include <optional>

namespace octet::comm {

struct LaunchPlace {
  int rank = 0;
  int size = 1;
};

// Nothing where no launcher that is known has started this process.
std::optional<LaunchPlace> PlaceFromLauncher();

}  // namespace octet::comm
