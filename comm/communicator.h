// Bytes between the ranks of one worker group. Every rank makes the same calls in the same order.
//
// Implementations: one rank (single), threads of one process (threads), MPI processes (mpi; within
// a host the data path is an MPI shared-memory window). All give the same bits: a sum is an
// exchange of float32 partial sums plus an addition in the order of the tree, done here.
//
// Barrier and Broadcast are of the host: plans, start-up. Calls with a Stream work on the memory of
// its device: on a CPU stream they are done when they return; on a CUDA stream they are work in the
// stream's order and can be captured in a graph, whose sizes and trees are then those of the
// capture. An implementation serves the streams of one device and checks that.
//
// One thread per rank calls; nothing is allocated by the data calls. A failure inside a collective
// ends the process, because the other ranks can not be told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "base/sum_tree.h"

namespace octet::comm {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Returns when all ranks have called it.
  virtual void Barrier() = 0;

  // Rank `root`'s bytes reach every rank's `data`. Ranks that wait here block rather than spin:
  // this is where an idle rank waits for its next plan. REQUIRES: the same size on every rank.
  virtual void Broadcast(std::span<std::byte> data, int root) = 0;

  // recv = the ranks' bytes side by side in rank order: rank r's part is bytes_of_rank[r] long, and
  // `send` is this rank's part. REQUIRES: the same bytes_of_rank everywhere; recv.size() = their
  // sum. `send` and `recv` do not overlap.
  virtual void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                         std::span<std::byte> recv, Stream& stream) = 0;

  // out[count] = the sum of all ranks' roots in the tree's order, the same bits on every rank.
  // `roots` holds this rank's partial sums [tree.roots_of_rank[rank()], count] f32, dense; a rank
  // may have none. `out` must not overlap `roots`. REQUIRES: count <= max_count given at creation.
  virtual void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                             int64_t count, Stream& stream) = 0;

  // Where this rank's roots may be written, before a TreeAllReduce or GatherRoots of the same tree
  // and count that is the very next call, so that they need not be copied: [roots of this rank,
  // count] f32, dense. Null where there is no such place: then write them anywhere. Asking again
  // before that call has the same answer.
  virtual float* RootsPlace(const ExchangeTree& tree, int64_t count) = 0;

  // The first half of a TreeAllReduce, for a kernel that adds the roots itself, in the tree's
  // order, together with what it does next: all ranks' roots [roots of all ranks, count] f32,
  // dense, in rank order, valid until the next call with a stream. Null, with nothing done, where
  // the sum is better made here (messages that go by slices, or between hosts): then call
  // TreeAllReduce. Null on all ranks or on none.
  virtual const float* GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                                   Stream& stream) = 0;
};

// What the buffers of a communicator are sized by, and what tells whether its waits may spin. The
// same on every rank.
struct CommunicatorLimits {
  int64_t gather_bytes_max = 0;   // largest sum of bytes_of_rank
  int64_t reduce_floats_max = 0;  // largest roots_of_rank[r] * count of any rank
  int64_t broadcast_bytes_max = 0;
  int threads_per_rank = 1;  // threads that compute on each rank, its caller included
};

}  // namespace octet::comm
