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

// Counts the ranks of this host from 0, for dealing out its devices; `rank` where no launcher says.
int LocalRankFromLauncher(int rank);

// Nothing where no launcher that is known has started this process.
std::optional<LaunchPlace> PlaceFromLauncher();

}  // namespace octet::comm
