// NCCL as found at run time: libnccl is loaded, not linked, so that a binary starts where there is
// none and a group of one rank never asks for it. Immutable once loaded; stays loaded for good,
// because its threads may outlive any object of ours.
#pragma once

#include <cstddef>
#include <string>

#include "base/status.h"
#include "comm/nccl/nccl_abi.h"

namespace octet::comm {

inline constexpr char kNcclLibraryName[] = "libnccl.so.2";
// Groups whose collectives may be captured in graphs and aborted from another thread, and the
// layout of NcclConfig.
inline constexpr int kNcclVersionMin = NcclVersionCode(2, 18, 0);
// The first with symmetric memory (RegisterWindow).
inline constexpr int kNcclWindowsVersionMin = NcclVersionCode(2, 27, 0);

struct NcclLibrary {
  std::string path;  // as it was asked for
  int version = 0;   // NcclVersionCode

  NcclResult (*get_version)(int* version) = nullptr;
  NcclResult (*get_unique_id)(NcclId* id) = nullptr;
  NcclResult (*comm_init_rank_config)(NcclComm** comm, int ranks, NcclId id, int rank,
                                      NcclConfig* config) = nullptr;
  NcclResult (*comm_destroy)(NcclComm* comm) = nullptr;
  NcclResult (*comm_abort)(NcclComm* comm) = nullptr;
  NcclResult (*comm_get_async_error)(NcclComm* comm, NcclResult* error) = nullptr;
  const char* (*get_error_string)(NcclResult result) = nullptr;
  const char* (*get_last_error)(NcclComm* comm) = nullptr;
  NcclResult (*group_start)() = nullptr;
  NcclResult (*group_end)() = nullptr;
  NcclResult (*all_gather)(const void* send, void* recv, size_t count, NcclType type,
                           NcclComm* comm, CudaStream* stream) = nullptr;
  NcclResult (*send)(const void* data, size_t count, NcclType type, int peer, NcclComm* comm,
                     CudaStream* stream) = nullptr;
  NcclResult (*recv)(void* data, size_t count, NcclType type, int peer, NcclComm* comm,
                     CudaStream* stream) = nullptr;
  // Not ours to serve with (its order of addition is NCCL's), but what the bench compares with.
  NcclResult (*all_reduce)(const void* send, void* recv, size_t count, NcclType type, NcclOp op,
                           NcclComm* comm, CudaStream* stream) = nullptr;

  // Loads `path`, a file or a name that the loader knows. Fails with a sentence that says what is
  // missing or too old and what to do.
  static Result<NcclLibrary> Load(const std::string& path = kNcclLibraryName);

  // "2.28.9"
  static std::string VersionName(int version);
  // What NCCL says of a failed call, with its last words about `comm` (may be null) if there are.
  std::string Reason(NcclResult result, NcclComm* comm) const;
};

}  // namespace octet::comm
