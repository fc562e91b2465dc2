// The collectives of ranks that share memory, whether threads (threads.h) or the processes of one
// host (mpi_communicator.h): one implementation over one region of raw memory.
//
// The region is a header and two areas. A call is one round, or several where its bytes exceed an
// area: write your part of the round's area, arrive, wait until all have arrived, read. Rounds
// alternate between the areas, and nobody writes in round e before all arrived in round e - 1,
// which they do after their last read of round e - 2: so one wait a round is enough, and calls may
// follow each other without a barrier. A broadcasting root does not wait.
//
// A SharedGroup is one rank's view of the region and is used by that rank's thread alone. It
// refuses to know where the region came from.
#pragma once

#include <atomic>
#include <memory>

#include "comm/communicator.h"
#include "comm/ordered_sum.h"
#include "comm/wait_word.h"

namespace octet::comm {

// The bytes of the region: a function of these alone, because memory is planned.
int64_t SharedRegionBytes(const CommunicatorLimits& limits, int ranks);
// The bytes of one area: what a round can carry, over all ranks.
int64_t AreaBytes(const CommunicatorLimits& limits, int ranks);

class SharedGroup final : public Communicator {
 public:
  // Called once on the region's SharedRegionBytes, before any rank's view is used. The region need
  // not be aligned, but the same address modulo a cache line everywhere (mapped pages are).
  static void Initialize(std::byte* region);

  // The views of all ranks keep the region alive; `stop` may be null (see wait_word.h).
  SharedGroup(std::shared_ptr<std::byte> region, int rank, int ranks,
              const CommunicatorLimits& limits, const std::atomic<bool>* stop);

  int rank() const override { return rank_; }
  int size() const override { return ranks_; }
  void Barrier() override;
  void Broadcast(std::span<std::byte> data, int root) override;
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override;
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override;
  float* RootsPlace(const ExchangeTree& tree, int64_t count) override;
  const float* GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                           Stream& stream) override;

 private:
  struct Header;
  struct Piece;

  std::byte* NextArea();
  std::byte* BeginRound();
  // Whether every rank adds up everything, or a slice.
  bool AllAddAll(const RootShare& share, int64_t count) const;
  bool FitsAnArea(const RootShare& share, int64_t count) const;
  void Arrive();
  void AwaitAll();
  void SumByAll(const Piece& piece);
  void SumBySlices(const Piece& piece);
  void PublishRoots(const Piece& piece, float* area);

  std::shared_ptr<std::byte> region_;
  Header* header_;
  std::byte* areas_;  // [2, area_bytes_]
  int rank_;
  int ranks_;
  CommunicatorLimits limits_;
  int64_t area_bytes_;
  WaitPolicy wait_;
  uint32_t round_ = 0;  // rounds begun by this rank, modulo 2^32
};

}  // namespace octet::comm
