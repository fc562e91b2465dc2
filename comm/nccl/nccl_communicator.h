// Ranks that each have a GPU: bytes travel by NCCL, in the order of the streams they are given; the
// ordered sum is ours (ordered_sum_cuda.cu), so that the bits are those of every other
// communicator. Host calls (Barrier, Broadcast: plans, start-up) stay with the control
// communicator.
//
// A sum of few bytes gathers all roots on every rank and adds them there. Above
// one_shot_root_bytes_max each rank is sent its slice of all roots, adds that and the ranks gather
// the slices: about ranks / 2 times less traffic, one more wait. Larger messages than the area
// holds go in pieces.
//
// Nothing here waits on the host or allocates, so that calls can be captured in a graph; NCCL
// itself sets up its connections at the first call of a kind, so make one of each before the first
// capture. A call that fails ends the process through the GroupWatch, which also ends it when a
// peer is lost.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/group_agreement.h"
#include "comm/group_watch.h"
#include "comm/nccl/nccl_library.h"
#include "comm/ordered_sum.h"

namespace octet::comm {

// Roots over all ranks up to which every rank adds all of them. Not measured: where 8 ranks on
// NVLink at 450 GB/s would save about the 10 us that a second exchange costs.
inline constexpr int64_t kNcclOneShotRootBytesMax = int64_t{4} << 20;
// What one exchange brings to a rank at most. Not measured.
inline constexpr int64_t kNcclAreaBytesMax = int64_t{32} << 20;

// The same on every rank, but for `device_uuid`.
struct NcclOptions {
  std::string library = kNcclLibraryName;
  std::string device_kind;  // see RankIdentity
  std::string device_uuid;
  // Several ranks, as processes, on one GPU. For functional tests: each then passes for a host of
  // its own and bytes go through sockets.
  bool share_gpu = false;
  int64_t one_shot_root_bytes_max = kNcclOneShotRootBytesMax;
  int64_t area_bytes_max = kNcclAreaBytesMax;
};

// Device bytes that a rank's communicator works in: a function of these alone, because memory is
// planned. What NCCL itself takes is not in it.
int64_t NcclAreaBytes(const CommunicatorLimits& limits, int ranks,
                      int64_t area_bytes_max = kNcclAreaBytesMax);

class NcclCommunicator final : public Communicator {
 public:
  // Where a rank's part of the group lives. Nothing is owned; all outlive the communicator.
  struct Place {
    Communicator* control;  // broadcast_bytes_max >= sizeof(RankIdentity)
    GroupWatch* watch;
    std::byte* area;  // [NcclAreaBytes] on the device, aligned to 256
  };

  // All ranks call it together, each with its device current. The ranks fail together, with the
  // same sentence: NCCL missing or too old on one, builds or devices that differ, two ranks on one
  // GPU. A rank that is lost meanwhile ends the others through the watch.
  static Result<std::unique_ptr<NcclCommunicator>> Create(const Place& place,
                                                          const CommunicatorLimits& limits,
                                                          const NcclOptions& options);
  // All ranks together, when no work is under way.
  ~NcclCommunicator() override;

  int rank() const override { return place_.control->rank(); }
  int size() const override { return place_.control->size(); }
  void Barrier() override { place_.control->Barrier(); }
  void Broadcast(std::span<std::byte> data, int root) override {
    place_.control->Broadcast(data, root);
  }
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override;
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override;
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                           Stream& stream) override;

 private:
  struct Parts;
  struct Piece;

  NcclCommunicator(const Place& place, const CommunicatorLimits& limits, const NcclOptions& options,
                   NcclLibrary library);
  Status Join(const NcclId& id);
  void Abandon();
  Status AgreeOn(const Status& own) const;
  void Check(NcclResult result, const char* file, int line, const char* call);
  bool AllAddAll(const RootShare& share, int64_t count) const;
  void Gather(const std::byte* send, const Parts& parts, std::byte* recv, Stream& stream);
  void SendSlices(const Piece& piece, Stream& stream);
  void SumBySlices(const Piece& piece, Stream& stream);

  Place place_;
  CommunicatorLimits limits_;
  NcclOptions options_;
  NcclLibrary nccl_;
  int64_t area_bytes_;
  NcclComm* comm_ = nullptr;
};

// What ranks on GPUs compute with: a group of one needs no NCCL, and no area.
Result<std::unique_ptr<Communicator>> MakeGpuCommunicator(const NcclCommunicator::Place& place,
                                                          const CommunicatorLimits& limits,
                                                          const NcclOptions& options);

}  // namespace octet::comm
