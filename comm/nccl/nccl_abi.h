// What Octet uses of NCCL's binary interface, declared here so that everything builds where NCCL's
// header, or CUDA's, is not installed. The facts are those of nccl.h, 2.18 to 2.28; a test holds
// them against the header where there is one (tests/comm/nccl/nccl_abi_test.cc).
//
// Functions are reached through NcclLibrary (nccl_library.h) alone.
#pragma once

#include <climits>
#include <cstddef>

namespace octet::comm {

struct NcclComm;    // ncclComm
struct NcclWindow;  // ncclWindow_vidmem: memory that all ranks have registered together
struct CudaStream;  // CUstream_st: what a Stream's handle points to

enum class NcclResult : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

enum class NcclType : int { kInt8 = 0, kFloat32 = 7 };
enum class NcclOp : int { kSum = 0 };

// Names a group that is about to form: made by one rank, told to all.
struct NcclId {
  char bytes[128];
};

// 20000 + 100 * minor + patch: 22809 is 2.28.9.
constexpr int NcclVersionCode(int major, int minor, int patch) {
  return major * 10000 + minor * 100 + patch;
}

// The layout of 2.18: `version` says so, and later libraries take their own defaults for what they
// have added behind it.
struct NcclConfig {
  static constexpr int kUnset = INT_MIN;
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = NcclVersionCode(2, 18, 0);
  int blocking = kUnset;
  int cga_cluster_size = kUnset;
  int min_ctas = kUnset;
  int max_ctas = kUnset;
  const char* net_name = nullptr;
  int split_share = kUnset;
};

}  // namespace octet::comm
