#include "tests/comm/nccl/fake_nccl.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl/nccl_abi.h"

namespace octet::comm {
namespace {

FakeNccl fake;

// One group that formed, or is about to.
struct Group {
  ~Group();

  std::mutex mutex;
  std::condition_variable changed;
  int joined = 0;
  bool aborted = false;
  std::map<std::pair<int, int>, std::deque<std::vector<char>>> mail;  // by sender, receiver
  std::vector<std::unique_ptr<NcclComm>> aborted_comms;  // kept: a queue may be inside of one
};

Group& GroupOf(const NcclId& id) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Group>> groups;  // for good: ids do not recur
  const std::lock_guard lock(mutex);
  std::unique_ptr<Group>& group = groups[std::string(id.bytes, sizeof(id.bytes))];
  if (group == nullptr) group = std::make_unique<Group>();
  return *group;
}

int64_t BytesOf(size_t count, NcclType type) {
  return static_cast<int64_t>(count) * (type == NcclType::kFloat32 ? 4 : 1);
}

struct Transfer {
  bool sends;
  int peer;
  void* data;
  int64_t bytes;
};

}  // namespace

struct NcclComm {
  // The transfers of one call or group: all that is sent goes out before any is awaited.
  struct Batch {
    NcclComm* comm;
    std::vector<Transfer> transfers;
  };

  Group* group;
  int rank;
  int ranks;
  std::vector<std::unique_ptr<Batch>> batches;  // kept: a graph comes back to them

  void Send(const Transfer& transfer) const {
    if (fake.mute_rank == rank) return;
    const auto* data = static_cast<const char*>(transfer.data);
    const std::lock_guard lock(group->mutex);
    group->mail[{rank, transfer.peer}].emplace_back(data, data + transfer.bytes);
    group->changed.notify_all();
  }

  void Receive(const Transfer& transfer) const {
    std::unique_lock lock(group->mutex);
    auto& mail = group->mail[{transfer.peer, rank}];
    group->changed.wait(lock, [&] { return group->aborted || !mail.empty(); });
    if (mail.empty()) return;  // aborted
    if (static_cast<int64_t>(mail.front().size()) != transfer.bytes) {
      std::fprintf(stderr, "fake NCCL: rank %d awaits %ld bytes of rank %d, which sent %zu\n", rank,
                   static_cast<long>(transfer.bytes), transfer.peer, mail.front().size());
      std::abort();
    }
    std::memcpy(transfer.data, mail.front().data(), mail.front().size());
    mail.pop_front();
  }

  static void Run(void* batch) {
    const auto& [comm, transfers] = *static_cast<const Batch*>(batch);
    for (const Transfer& transfer : transfers) {
      if (transfer.sends) comm->Send(transfer);
    }
    for (const Transfer& transfer : transfers) {
      if (!transfer.sends) comm->Receive(transfer);
    }
  }

  void Enqueue(std::vector<Transfer> transfers, void* queue) {
    batches.push_back(std::make_unique<Batch>(Batch{this, std::move(transfers)}));
    const auto enqueue = fake.enqueue.load();
    if (enqueue != nullptr) {
      enqueue(queue, Run, batches.back().get());
    } else {
      Run(batches.back().get());
      batches.pop_back();
    }
  }
};

namespace {

Group::~Group() = default;

struct OpenGroup {
  bool open = false;
  NcclComm* comm = nullptr;
  CudaStream* queue = nullptr;
  std::vector<Transfer> transfers;
};
thread_local OpenGroup open_group;

NcclResult Add(NcclComm* comm, std::vector<Transfer> transfers, CudaStream* queue) {
  if (fake.call_result != 0) return static_cast<NcclResult>(fake.call_result.load());
  if (!open_group.open) {
    comm->Enqueue(std::move(transfers), queue);
    return NcclResult::kSuccess;
  }
  open_group.comm = comm;
  open_group.queue = queue;
  open_group.transfers.insert(open_group.transfers.end(), transfers.begin(), transfers.end());
  return NcclResult::kSuccess;
}

}  // namespace

extern "C" {

FakeNccl* OctetFakeNccl() { return &fake; }

NcclResult ncclGetVersion(int* version) {
  *version = fake.version;
  return NcclResult::kSuccess;
}

NcclResult ncclGetUniqueId(NcclId* id) {
  static std::atomic<int> made{0};
  *id = {};
  std::snprintf(id->bytes, sizeof(id->bytes), "fake group %d", ++made);
  return NcclResult::kSuccess;
}

NcclResult ncclCommInitRankConfig(NcclComm** comm, int ranks, NcclId id, int rank,
                                  NcclConfig* config) {
  if (config->magic != 0xcafebeef || config->blocking != 1) return NcclResult::kInvalidArgument;
  if (fake.init_result_rank == rank) return static_cast<NcclResult>(fake.init_result.load());
  Group& group = GroupOf(id);
  std::unique_lock lock(group.mutex);
  if (fake.absent_rank != rank) ++group.joined;
  group.changed.notify_all();
  const bool one_fails = fake.init_result_rank >= 0;  // the others do not wait for it here
  group.changed.wait(lock, [&] { return one_fails || group.joined == ranks; });
  *comm = new NcclComm{&group, rank, ranks, {}};
  return NcclResult::kSuccess;
}

NcclResult ncclCommDestroy(NcclComm* comm) {
  ++fake.destroys;
  delete comm;
  return NcclResult::kSuccess;
}

NcclResult ncclCommAbort(NcclComm* comm) {
  ++fake.aborts;
  while (fake.abort_hangs) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const std::lock_guard lock(comm->group->mutex);
  std::fprintf(stderr, "fake NCCL: rank %d aborts\n", comm->rank);
  comm->group->aborted = true;
  comm->group->aborted_comms.emplace_back(comm);
  comm->group->changed.notify_all();
  return NcclResult::kSuccess;
}

NcclResult ncclCommGetAsyncError(NcclComm*, NcclResult* error) {
  *error = static_cast<NcclResult>(fake.async_error.load());
  return NcclResult::kSuccess;
}

const char* ncclGetErrorString(NcclResult result) {
  return result == NcclResult::kRemoteError ? "remote process exited" : "some fake error";
}
const char* ncclGetLastError(NcclComm*) { return "the fake's last words"; }

NcclResult ncclGroupStart() {
  open_group = {.open = true};
  return NcclResult::kSuccess;
}

NcclResult ncclGroupEnd() {
  ++fake.groups;
  OpenGroup closed = std::exchange(open_group, {});
  if (closed.comm != nullptr) closed.comm->Enqueue(std::move(closed.transfers), closed.queue);
  return NcclResult::kSuccess;
}

NcclResult ncclSend(const void* data, size_t count, NcclType type, int peer, NcclComm* comm,
                    CudaStream* queue) {
  return Add(comm, {{true, peer, const_cast<void*>(data), BytesOf(count, type)}}, queue);
}

NcclResult ncclRecv(void* data, size_t count, NcclType type, int peer, NcclComm* comm,
                    CudaStream* queue) {
  return Add(comm, {{false, peer, data, BytesOf(count, type)}}, queue);
}

NcclResult ncclAllGather(const void* send, void* recv, size_t count, NcclType type, NcclComm* comm,
                         CudaStream* queue) {
  ++fake.all_gathers;
  const int64_t bytes = BytesOf(count, type);
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < comm->ranks; ++peer) {
    transfers.push_back({true, peer, const_cast<void*>(send), bytes});
    transfers.push_back({false, peer, static_cast<char*>(recv) + peer * bytes, bytes});
  }
  return Add(comm, std::move(transfers), queue);
}

// The fake adds nothing: no rank may ask it to.
NcclResult ncclAllReduce(const void*, void*, size_t, NcclType, NcclOp, NcclComm*, CudaStream*) {
  return NcclResult::kInvalidUsage;
}

}  // extern "C"

}  // namespace octet::comm
