#include "comm/launch_place.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace octet::comm {
namespace {

std::optional<int> Number(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto read = std::from_chars(text, end, value);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<LaunchPlace> PlaceFromLauncher() {
  // In this order: under mpirun inside a Slurm job both kinds are set, and mpirun's are the
  // process's.
  constexpr const char* kVariables[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"}};
  for (const auto& [rank_variable, size_variable] : kVariables) {
    const std::optional<int> rank = Number(rank_variable);
    const std::optional<int> size = Number(size_variable);
    if (rank.has_value() && size.has_value() && *rank >= 0 && *rank < *size)
      return LaunchPlace{*rank, *size};
  }
  return std::nullopt;
}

int LocalRankFromLauncher(int rank) {
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    const std::optional<int> local = Number(variable);
    if (local.has_value() && *local >= 0) return *local;
  }
  return rank;
}

}  // namespace octet::comm
