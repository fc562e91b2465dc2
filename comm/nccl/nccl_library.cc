#include "comm/nccl/nccl_library.h"

#include <dlfcn.h>

namespace octet::comm {
namespace {

// Finds the functions of one library and remembers the first that it does not have.
class Symbols {
 public:
  explicit Symbols(void* library) : library_(library) {}

  template <typename Function>
  void Find(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(dlsym(library_, name));
    if (*function == nullptr && missing_ == nullptr) missing_ = name;
  }
  const char* missing() const { return missing_; }

 private:
  void* library_;
  const char* missing_ = nullptr;
};

const char* FindAll(void* handle, NcclLibrary* library) {
  Symbols symbols(handle);
  symbols.Find("ncclGetVersion", &library->get_version);
  symbols.Find("ncclGetUniqueId", &library->get_unique_id);
  symbols.Find("ncclCommInitRankConfig", &library->comm_init_rank_config);
  symbols.Find("ncclCommDestroy", &library->comm_destroy);
  symbols.Find("ncclCommAbort", &library->comm_abort);
  symbols.Find("ncclCommGetAsyncError", &library->comm_get_async_error);
  symbols.Find("ncclGetErrorString", &library->get_error_string);
  symbols.Find("ncclGetLastError", &library->get_last_error);
  symbols.Find("ncclGroupStart", &library->group_start);
  symbols.Find("ncclGroupEnd", &library->group_end);
  symbols.Find("ncclAllGather", &library->all_gather);
  symbols.Find("ncclSend", &library->send);
  symbols.Find("ncclRecv", &library->recv);
  symbols.Find("ncclAllReduce", &library->all_reduce);
  return symbols.missing();
}

}  // namespace

Result<NcclLibrary> NcclLibrary::Load(const std::string& path) {
  // Local: its symbols are reached through the table only, and another NCCL in the process (a
  // Python host's, say) is not mixed with it.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    return FailedPrecondition("NCCL can not be loaded (" +
                              std::string(reason != nullptr ? reason : path) +
                              "): several GPUs need NCCL " + VersionName(kNcclVersionMin) +
                              " or later; install it (libnccl2) or add its folder to "
                              "LD_LIBRARY_PATH");
  }
  NcclLibrary library;
  library.path = path;
  const char* missing = FindAll(handle, &library);
  if (library.get_version == nullptr) {
    return FailedPrecondition(path + " is not NCCL: it has no ncclGetVersion");
  }
  if (const NcclResult asked = library.get_version(&library.version);
      asked != NcclResult::kSuccess) {
    return FailedPrecondition(path + " does not tell its version: error " +
                              std::to_string(static_cast<int>(asked)));
  }
  if (library.version < kNcclVersionMin || missing != nullptr) {
    return FailedPrecondition(path + " is NCCL " + VersionName(library.version) +
                              (missing != nullptr ? std::string(" without ") + missing : "") +
                              ", but " + VersionName(kNcclVersionMin) + " or later is needed");
  }
  return library;
}

std::string NcclLibrary::VersionName(int version) {
  // Up to 2.8 a minor version had one digit.
  constexpr int kFirstWide = 10000;
  const int unit = version >= kFirstWide ? kFirstWide : kFirstWide / 10;
  return std::to_string(version / unit) + "." + std::to_string(version % unit / 100) + "." +
         std::to_string(version % 100);
}

std::string NcclLibrary::Reason(NcclResult result, NcclComm* comm) const {
  std::string reason = get_error_string(result);
  const char* last = get_last_error(comm);
  if (last != nullptr && *last != '\0') reason += std::string(": ") + last;
  return reason;
}

}  // namespace octet::comm
