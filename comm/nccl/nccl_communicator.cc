#include "comm/nccl/nccl_communicator.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/buffer.h"
#include "base/build_id.h"
#include "base/check.h"
#include "base/host_identity.h"
#include "comm/single.h"

// The one way to call NCCL once the group has formed.
#define OCTET_NCCL(call) Check((call), __FILE__, __LINE__, #call)

namespace octet::comm {
namespace {

constexpr int kRanksMax = 64;
constexpr int64_t kAreaAlignment = 256;
constexpr int64_t kSliceFloats = 32;  // slices start a line of the device's memory
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

CudaStream* HandleOf(const Stream& stream) { return static_cast<CudaStream*>(stream.handle()); }

// Each rank gets a host of its own in NCCL's eyes, which refuses two ranks of one host on one GPU.
// REQUIRES: before NCCL's first call of the process.
void PassForAHost(int rank) {
  setenv("NCCL_HOSTID", ("octet-rank-" + std::to_string(rank)).c_str(), 1);
}

// NCCL's own sockets listen on an interface of the network unless they are told not to. A group on
// one host has no need of it; whoever has chosen an interface keeps it. REQUIRES: as above.
void StayOnLoopback(std::span<const RankIdentity> ranks) {
  const std::string_view host = ranks.front().host.view();
  const bool one_host =
      !host.empty() &&
      std::all_of(ranks.begin(), ranks.end(), [&](const auto& r) { return r.host.view() == host; });
  if (one_host) setenv("NCCL_SOCKET_IFNAME", "=lo", 0);
}

}  // namespace

int64_t NcclAreaBytes(const CommunicatorLimits& limits, int ranks, int64_t area_bytes_max) {
  const int64_t wanted = limits.reduce_floats_max * ranks * kFloatBytes;
  const int64_t lines = kRootsMax * kSliceFloats * kFloatBytes;  // of the shortest slices
  return (std::min(wanted, area_bytes_max) + lines + kAreaAlignment - 1) / kAreaAlignment *
         kAreaAlignment;
}

// Parts side by side in rank order.
struct NcclCommunicator::Parts {
  std::array<int64_t, kRanksMax> bytes = {};
  std::array<int64_t, kRanksMax> begin = {};  // bytes
  int64_t total = 0;
  bool equal = true;

  void Add(int rank, int64_t part_bytes) {
    bytes[rank] = part_bytes;
    begin[rank] = total;
    total += part_bytes;
    equal = equal && part_bytes == bytes[0];
  }
};

// A run of elements of one sum whose slices fit the area.
struct NcclCommunicator::Piece {
  const ExchangeTree& tree;
  const OrderedSumArgs& program;
  RootShare share;
  const float* roots;   // [share.own, root_stride], at the piece's first element
  int64_t root_stride;  // floats
  float* out;           // [count]
  int64_t count;        // elements
  int64_t slice;        // elements of every rank's slice but the last ones

  int64_t Begin(int rank) const { return std::min(rank * slice, count); }
  int64_t Count(int rank) const { return Begin(rank + 1) - Begin(rank); }
};

Result<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Create(const Place& place,
                                                                   const CommunicatorLimits& limits,
                                                                   const NcclOptions& options) {
  Communicator& control = *place.control;
  OCTET_CHECK_LE(control.size(), kRanksMax);
  if (options.share_gpu) PassForAHost(control.rank());
  Result<NcclLibrary> library = NcclLibrary::Load(options.library);
  const RankIdentity own = {.build = BuildId(),
                            .device_kind = options.device_kind,
                            .host = HostIdentity(),
                            .device_uuid = options.device_uuid,
                            .nccl_version = library.ok() ? library->version : 0,
                            .pid = getpid(),
                            .problem = library.status().message()};
  const std::vector<RankIdentity> ranks = ExchangeIdentities(control, own);
  OCTET_RETURN_IF_ERROR(CheckAgreement(ranks));
  OCTET_RETURN_IF_ERROR(CheckDevices(ranks, options.share_gpu));
  StayOnLoopback(ranks);
  place.watch->SetPeers(PeersOf(ranks, control.rank()));

  std::unique_ptr<NcclCommunicator> made(
      new NcclCommunicator(place, limits, options, std::move(library).value()));
  NcclId id = {};
  Status status;
  if (control.rank() == 0) {
    if (const NcclResult result = made->nccl_.get_unique_id(&id); result != NcclResult::kSuccess) {
      status =
          FailedPrecondition("NCCL can not start a group: " + made->nccl_.Reason(result, nullptr));
    }
  }
  OCTET_RETURN_IF_ERROR(made->AgreeOn(status));
  control.Broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
  if (Status agreed = made->AgreeOn(made->Join(id)); !agreed.ok()) {
    made->Abandon();
    return agreed;
  }
  return made;
}

NcclCommunicator::NcclCommunicator(const Place& place, const CommunicatorLimits& limits,
                                   const NcclOptions& options, NcclLibrary library)
    : place_(place),
      limits_(limits),
      options_(options),
      nccl_(std::move(library)),
      area_bytes_(NcclAreaBytes(limits, place.control->size(), options.area_bytes_max)) {}

// The call returns when all ranks have come. It can not be given up: the watch ends the process.
Status NcclCommunicator::Join(const NcclId& id) {
  NcclConfig config;
  config.blocking = 1;
  const GroupWatch::Work work(place_.watch);
  const NcclResult result = nccl_.comm_init_rank_config(&comm_, size(), id, rank(), &config);
  if (result != NcclResult::kSuccess) {
    comm_ = nullptr;
    return FailedPrecondition("NCCL " + NcclLibrary::VersionName(nccl_.version) +
                              " can not join the group: " + nccl_.Reason(result, nullptr));
  }
  place_.watch->SetProbe({.trouble = [nccl = &nccl_, comm = comm_]() -> std::string {
                            NcclResult error = NcclResult::kSuccess;
                            const NcclResult asked = nccl->comm_get_async_error(comm, &error);
                            if (asked != NcclResult::kSuccess) error = asked;
                            if (error == NcclResult::kSuccess || error == NcclResult::kInProgress)
                              return "";
                            return "NCCL met an error: " + nccl->Reason(error, comm);
                          },
                          .abort = [nccl = &nccl_, comm = comm_] { nccl->comm_abort(comm); }});
  return {};
}

// The first rank's failure, on every rank.
Status NcclCommunicator::AgreeOn(const Status& own) const {
  const RankIdentity told = {.problem = own.message()};
  return CheckAgreement(ExchangeIdentities(*place_.control, told));
}

// Without the others, who may not have joined.
void NcclCommunicator::Abandon() {
  place_.watch->SetProbe({});
  if (comm_ != nullptr) nccl_.comm_abort(comm_);
  comm_ = nullptr;
}

NcclCommunicator::~NcclCommunicator() {
  place_.watch->SetProbe({});
  if (comm_ == nullptr) return;
  place_.control->Barrier();  // nobody destroys what another still computes with
  const GroupWatch::Work work(place_.watch);
  const NcclResult result = nccl_.comm_destroy(comm_);
  if (result != NcclResult::kSuccess) OCTET_NCCL(result);
}

void NcclCommunicator::Check(NcclResult result, const char* file, int line, const char* call) {
  if (result == NcclResult::kSuccess) return;
  place_.watch->Fail("NCCL failed at " + std::string(file) + ":" + std::to_string(line) + ": " +
                     call + ": " + nccl_.Reason(result, comm_));
}

bool NcclCommunicator::AllAddAll(const RootShare& share, int64_t count) const {
  return share.total * count * kFloatBytes <=
         std::min(options_.one_shot_root_bytes_max, area_bytes_);
}

// `send` may be the rank's own part of `recv`.
void NcclCommunicator::Gather(const std::byte* send, const Parts& parts, std::byte* recv,
                              Stream& stream) {
  if (parts.total == 0) return;
  CudaStream* const queue = HandleOf(stream);
  if (parts.equal) {
    OCTET_NCCL(nccl_.all_gather(send, recv, static_cast<size_t>(parts.bytes[0]), NcclType::kInt8,
                                comm_, queue));
    return;
  }
  const auto own_bytes = static_cast<size_t>(parts.bytes[rank()]);
  OCTET_NCCL(nccl_.group_start());
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank() && send == recv + parts.begin[peer]) continue;
    if (own_bytes > 0) {
      OCTET_NCCL(nccl_.send(send, own_bytes, NcclType::kInt8, peer, comm_, queue));
    }
    if (parts.bytes[peer] > 0) {
      OCTET_NCCL(nccl_.recv(recv + parts.begin[peer], static_cast<size_t>(parts.bytes[peer]),
                            NcclType::kInt8, peer, comm_, queue));
    }
  }
  OCTET_NCCL(nccl_.group_end());
}

void NcclCommunicator::AllGather(std::span<const std::byte> send,
                                 std::span<const int64_t> bytes_of_rank, std::span<std::byte> recv,
                                 Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCuda);
  OCTET_CHECK_EQ(static_cast<int>(bytes_of_rank.size()), size());
  OCTET_CHECK_EQ(static_cast<int64_t>(send.size()), bytes_of_rank[rank()]);
  Parts parts;
  for (int r = 0; r < size(); ++r) parts.Add(r, bytes_of_rank[r]);
  OCTET_CHECK_EQ(static_cast<int64_t>(recv.size()), parts.total);
  OCTET_CHECK_LE(parts.total, limits_.gather_bytes_max);
  Gather(send.data(), parts, recv.data(), stream);
}

const float* NcclCommunicator::GatherRoots(const ExchangeTree& tree, const float* roots,
                                           int64_t count, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCuda);
  const RootShare share = ShareOf(tree, rank(), size());
  OCTET_CHECK_LE(share.own_max * count, limits_.reduce_floats_max);
  if (!AllAddAll(share, count)) return nullptr;
  Parts parts;
  for (int r = 0; r < size(); ++r) parts.Add(r, tree.roots_of_rank[r] * count * kFloatBytes);
  Gather(reinterpret_cast<const std::byte*>(roots), parts, place_.area, stream);
  return reinterpret_cast<const float*>(place_.area);
}

void NcclCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                     int64_t count, Stream& stream) {
  OCTET_CHECK(cuda::OrderedSum != nullptr);
  OrderedSumArgs program = SumProgramOf(tree);
  if (const float* gathered = GatherRoots(tree, roots, count, stream); gathered != nullptr) {
    for (int64_t i = 0; i < program.root_count; ++i) program.roots[i] = gathered + i * count;
    program.out = out;
    program.count = count;
    cuda::OrderedSum(program, stream);
    return;
  }
  const RootShare share = ShareOf(tree, rank(), size());
  const int64_t slice_max =
      area_bytes_ / kFloatBytes / share.total / kSliceFloats * kSliceFloats;  // elements
  for (int64_t begin = 0; begin < count; begin += slice_max * size()) {
    const int64_t piece_count = std::min(slice_max * size(), count - begin);
    const int64_t lines = (piece_count + size() * kSliceFloats - 1) / (size() * kSliceFloats);
    SumBySlices({.tree = tree,
                 .program = program,
                 .share = share,
                 .roots = roots + begin,
                 .root_stride = count,
                 .out = out + begin,
                 .count = piece_count,
                 .slice = lines * kSliceFloats},
                stream);
  }
}

// The other ranks' roots of this rank's slice come to the area, in rank order.
void NcclCommunicator::SendSlices(const Piece& piece, Stream& stream) {
  CudaStream* const queue = HandleOf(stream);
  auto* area = reinterpret_cast<float*>(place_.area);
  const int64_t own_count = piece.Count(rank());
  OCTET_NCCL(nccl_.group_start());
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    for (int64_t i = 0; i < piece.share.own && piece.Count(peer) > 0; ++i) {
      OCTET_NCCL(nccl_.send(piece.roots + i * piece.root_stride + piece.Begin(peer),
                            static_cast<size_t>(piece.Count(peer)), NcclType::kFloat32, peer, comm_,
                            queue));
    }
    for (int32_t i = 0; i < piece.tree.roots_of_rank[peer] && own_count > 0; ++i) {
      OCTET_NCCL(
          nccl_.recv(area, static_cast<size_t>(own_count), NcclType::kFloat32, peer, comm_, queue));
      area += piece.slice;
    }
  }
  OCTET_NCCL(nccl_.group_end());
}

void NcclCommunicator::SumBySlices(const Piece& piece, Stream& stream) {
  SendSlices(piece, stream);
  OrderedSumArgs sum = piece.program;
  const auto* area = reinterpret_cast<const float*>(place_.area);
  const int64_t own_begin = piece.Begin(rank());
  for (int64_t i = 0; i < piece.share.total; ++i) {
    const int64_t own = i - piece.share.first;
    if (own >= 0 && own < piece.share.own) {
      sum.roots[i] = piece.roots + own * piece.root_stride + own_begin;
    } else {
      sum.roots[i] = area;
      area += piece.slice;
    }
  }
  sum.out = piece.out + own_begin;
  sum.count = piece.Count(rank());
  cuda::OrderedSum(sum, stream);
  Parts parts;
  for (int r = 0; r < size(); ++r) parts.Add(r, piece.Count(r) * kFloatBytes);
  Gather(reinterpret_cast<const std::byte*>(sum.out), parts,
         reinterpret_cast<std::byte*>(piece.out), stream);
}

Result<std::unique_ptr<Communicator>> MakeGpuCommunicator(const NcclCommunicator::Place& place,
                                                          const CommunicatorLimits& limits,
                                                          const NcclOptions& options) {
  if (place.control->size() == 1) {
    return std::unique_ptr<Communicator>(std::make_unique<SingleCommunicator>());
  }
  OCTET_ASSIGN_OR_RETURN(auto made, NcclCommunicator::Create(place, limits, options));
  return std::unique_ptr<Communicator>(std::move(made));
}

}  // namespace octet::comm
