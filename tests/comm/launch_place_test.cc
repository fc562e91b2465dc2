#include "comm/launch_place.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace octet::comm {
namespace {

TEST(LaunchPlaceTest, IsWhatTheLauncherSays) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"})
    unsetenv(name);
  EXPECT_FALSE(PlaceFromLauncher().has_value());
  setenv("PMI_RANK", "1", 1);
  setenv("PMI_SIZE", "4", 1);
  EXPECT_EQ(PlaceFromLauncher()->rank, 1);
  setenv("OMPI_COMM_WORLD_RANK", "2", 1);
  EXPECT_EQ(PlaceFromLauncher()->rank, 1);  // half of a place is none
  setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
  EXPECT_EQ(PlaceFromLauncher()->rank, 2);
  EXPECT_EQ(PlaceFromLauncher()->size, 3);
  for (const char* wrong : {"", "3", "-1", "2x", "99999999999"}) {
    setenv("OMPI_COMM_WORLD_RANK", wrong, 1);
    EXPECT_EQ(PlaceFromLauncher()->size, 4) << wrong;
  }
}

TEST(LaunchPlaceTest, CountsTheRanksOfAHost) {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
    unsetenv(name);
  EXPECT_EQ(LocalRankFromLauncher(5), 5);
  setenv("SLURM_LOCALID", "2", 1);
  EXPECT_EQ(LocalRankFromLauncher(5), 2);
  setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1", 1);  // under mpirun inside a Slurm job
  EXPECT_EQ(LocalRankFromLauncher(5), 1);
  setenv("OMPI_COMM_WORLD_LOCAL_RANK", "-1", 1);
  EXPECT_EQ(LocalRankFromLauncher(5), 2);
}

}  // namespace
}  // namespace octet::comm
