// The one way to call MPI: OCTET_MPI(MPI_Barrier(comm)). On failure it prints rank, place, call and
// MPI's reason and aborts the job, because the other ranks can not be told in any other way.
#pragma once

namespace octet::comm {

void CheckMpi(int code, const char* file, int line, const char* call);

}  // namespace octet::comm

#define OCTET_MPI(call) ::octet::comm::CheckMpi((call), __FILE__, __LINE__, #call)
