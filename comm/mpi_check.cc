#include "comm/mpi_check.h"

#include <mpi.h>

#include <cstdio>

namespace octet::comm {

void CheckMpi(int code, const char* file, int line, const char* call) {
  if (code == MPI_SUCCESS) return;
  int rank = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  char reason[MPI_MAX_ERROR_STRING] = "unknown";
  int length = 0;
  MPI_Error_string(code, reason, &length);
  std::fprintf(stderr, "octet: rank %d: MPI failed at %s:%d: %s: %s\n", rank, file, line, call,
               reason);
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

}  // namespace octet::comm
