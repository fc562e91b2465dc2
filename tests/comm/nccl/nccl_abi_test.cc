// Holds what nccl_abi.h declares against NCCL's own header. It is compiled where there is one; that
// it compiles is the test.
#include <nccl.h>

#include <cstddef>
#include <type_traits>

#include "comm/nccl/nccl_library.h"

namespace octet::comm {
namespace {

template <typename Ours, typename Theirs>
constexpr bool Same(Ours ours, Theirs theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}

static_assert(Same(NcclResult::kSuccess, ncclSuccess));
static_assert(Same(NcclResult::kUnhandledCudaError, ncclUnhandledCudaError));
static_assert(Same(NcclResult::kSystemError, ncclSystemError));
static_assert(Same(NcclResult::kInternalError, ncclInternalError));
static_assert(Same(NcclResult::kInvalidArgument, ncclInvalidArgument));
static_assert(Same(NcclResult::kInvalidUsage, ncclInvalidUsage));
static_assert(Same(NcclResult::kRemoteError, ncclRemoteError));
static_assert(Same(NcclResult::kInProgress, ncclInProgress));
static_assert(Same(NcclType::kInt8, ncclInt8) && Same(NcclType::kFloat32, ncclFloat32));
static_assert(Same(NcclOp::kSum, ncclSum));
static_assert(sizeof(NcclResult) == sizeof(ncclResult_t));
static_assert(sizeof(NcclType) == sizeof(ncclDataType_t) && sizeof(NcclOp) == sizeof(ncclRedOp_t));
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId) && alignof(NcclId) == alignof(ncclUniqueId));
static_assert(NCCL_VERSION_CODE == NcclVersionCode(NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH));
static_assert(NCCL_VERSION_CODE >= kNcclVersionMin);

static_assert(offsetof(NcclConfig, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(NcclConfig, cga_cluster_size) == offsetof(ncclConfig_t, cgaClusterSize));
static_assert(offsetof(NcclConfig, min_ctas) == offsetof(ncclConfig_t, minCTAs));
static_assert(offsetof(NcclConfig, max_ctas) == offsetof(ncclConfig_t, maxCTAs));
static_assert(offsetof(NcclConfig, net_name) == offsetof(ncclConfig_t, netName));
static_assert(offsetof(NcclConfig, split_share) == offsetof(ncclConfig_t, splitShare));
static_assert(sizeof(NcclConfig) <= sizeof(ncclConfig_t));
static_assert(NcclConfig::kUnset == NCCL_CONFIG_UNDEF_INT);

// A function of the table takes what NCCL's takes: the same number of arguments, each of the same
// size, and pointers where there are pointers.
template <typename A, typename B>
constexpr bool SamePassing() {
  return sizeof(A) == sizeof(B) && alignof(A) == alignof(B) &&
         std::is_pointer_v<A> == std::is_pointer_v<B>;
}
template <typename>
struct Signature;
template <typename R, typename... As>
struct Signature<R (*)(As...)> {
  template <typename R2, typename... Bs>
  static constexpr bool Matches(R2 (*)(Bs...)) {
    if constexpr (sizeof...(As) != sizeof...(Bs)) {
      return false;
    } else {
      return SamePassing<R, R2>() && (SamePassing<As, Bs>() && ...);
    }
  }
};
#define OCTET_SAME_SIGNATURE(member, function) \
  static_assert(Signature<decltype(NcclLibrary::member)>::Matches(function))

OCTET_SAME_SIGNATURE(get_version, &ncclGetVersion);
OCTET_SAME_SIGNATURE(get_unique_id, &ncclGetUniqueId);
OCTET_SAME_SIGNATURE(comm_init_rank_config, &ncclCommInitRankConfig);
OCTET_SAME_SIGNATURE(comm_destroy, &ncclCommDestroy);
OCTET_SAME_SIGNATURE(comm_abort, &ncclCommAbort);
OCTET_SAME_SIGNATURE(comm_get_async_error, &ncclCommGetAsyncError);
OCTET_SAME_SIGNATURE(get_error_string, &ncclGetErrorString);
OCTET_SAME_SIGNATURE(get_last_error, &ncclGetLastError);
OCTET_SAME_SIGNATURE(group_start, &ncclGroupStart);
OCTET_SAME_SIGNATURE(group_end, &ncclGroupEnd);
OCTET_SAME_SIGNATURE(all_gather, &ncclAllGather);
OCTET_SAME_SIGNATURE(send, &ncclSend);
OCTET_SAME_SIGNATURE(recv, &ncclRecv);
OCTET_SAME_SIGNATURE(all_reduce, &ncclAllReduce);

}  // namespace
}  // namespace octet::comm
