// The ranks of a group, each with its slots' state and its run of the vocabulary, on one device:
// what an engine does around the ops of a step.
#pragma once

#include <memory>
#include <vector>

#include "kernels/sampling/device/choose_rows.h"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/slot_updates.h"
#include "kernels/sampling/device/take_tokens.h"
#include "tests/kernels/sampling/device/sequence.h"
#include "tests/support/test_device.h"

namespace octet::kernels::test {

using octet::test::TestGpu;
using octet::test::ToDevice;
using octet::test::ToHost;

// Device memory that nothing was written to.
template <typename T>
DeviceBuffer Unwritten(int64_t count) {
  Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(count * static_cast<int64_t>(sizeof(T)));
  OCTET_CHECK(buffer.ok());
  return std::move(buffer).value();
}

// A row that something is asked about. Padding has no slot.
struct AskedRow {
  int32_t slot = -1;
  int64_t position = 0;
  int32_t next_token = -1;    // of a prompt's row
  int32_t best = -1;          // told; -1: nothing is
  SamplingParams sampling;    // of its slot
  std::vector<float> logits;  // [vocab]
};

class DeviceRanks {
 public:
  // bounds: [ranks + 1] token ids.
  DeviceRanks(const std::vector<int32_t>& bounds, int64_t slots) {
    const auto ranks = static_cast<int32_t>(bounds.size()) - 1;
    const SlotStateShape shape{.slots = slots, .vocab = bounds.back()};
    for (int32_t rank = 0; rank < ranks; ++rank) {
      VocabCut cut{.ranks = ranks, .rank = rank};
      std::copy(bounds.begin(), bounds.end(), cut.bounds.begin());
      ranks_.push_back(std::make_unique<Rank>(cut, shape));
    }
  }

  void Admit(const std::vector<SlotAdmission>& admissions) {
    const auto updates_max = static_cast<int64_t>(admissions.size()) + 2;
    std::vector<std::byte> bytes(static_cast<size_t>(SlotUpdateBytes(updates_max, 10000)));
    SlotUpdateList list(bytes, updates_max);
    for (const SlotAdmission& admission : admissions) ASSERT_TRUE(list.Add(admission));
    bytes.resize(static_cast<size_t>(list.used_bytes()));
    const DeviceBuffer updates = ToDevice(bytes, stream_);
    for (const auto& rank : ranks_) {
      ApplySlotUpdates({.updates = updates.data(),
                        .updates_max = updates_max,
                        .count = list.count(),
                        .state = rank->state},
                       stream_);
    }
    Synchronize(stream_);
  }

  // The tokens of a step's rows, the same on every rank.
  std::vector<int32_t> Take(const std::vector<int32_t>& slots, const std::vector<int32_t>& given,
                            const std::vector<int32_t>& positions) {
    const DeviceBuffer device_slots = ToDevice(slots, stream_);
    const DeviceBuffer device_given = ToDevice(given, stream_);
    const DeviceBuffer device_positions = ToDevice(positions, stream_);
    const DeviceBuffer tokens = Unwritten<int32_t>(static_cast<int64_t>(slots.size()));
    std::vector<int32_t> taken;
    for (const auto& rank : ranks_) {
      TakeTokens({.slots = device_slots.as<int32_t>(),
                  .given = device_given.as<int32_t>(),
                  .positions = device_positions.as<int32_t>(),
                  .rows_max = static_cast<int64_t>(slots.size()),
                  .state = rank->state,
                  .tokens = tokens.as<int32_t>()},
                 stream_);
      const std::vector<int32_t> of_rank = ToHost<int32_t>(tokens, stream_);
      EXPECT_TRUE(rank == ranks_.front() || of_rank == taken);
      taken = of_rank;
    }
    return taken;
  }

  // Of the last rank.
  std::vector<uint32_t> Marks(int32_t slot) {
    const SlotState& state = ranks_.back()->state;
    std::vector<uint32_t> marks(static_cast<size_t>(state.shape.vocab));
    CopyToHost(marks.data(), state.marks + slot * state.shape.vocab,
               static_cast<int64_t>(marks.size() * sizeof(uint32_t)), stream_);
    Synchronize(stream_);
    return marks;
  }

  // Offers, exchanges and chooses; the answers of the first rank and the last, to which those
  // between would add the same once more.
  std::vector<std::vector<Answer>> Run(const std::vector<AskedRow>& asked) {
    LayOut(asked);
    const DeviceBuffer step = ToDevice(std::vector<SamplingStep>{{totals_}}, stream_);
    const DeviceBuffer rows = ToDevice(rows_, stream_);
    int64_t total_bytes = 0;
    for (const auto& rank : ranks_) total_bytes += Part(*rank).bytes();
    const DeviceBuffer gather = Unwritten<std::byte>(total_bytes);
    int64_t begin = 0;
    for (const auto& rank : ranks_) {
      Offer(*rank, asked, step, rows, gather.data() + begin);
      begin += Part(*rank).bytes();
    }
    std::vector<std::vector<Answer>> answers;
    for (const auto& rank : ranks_) {
      const bool at_an_end = rank == ranks_.front() || rank == ranks_.back();
      if (at_an_end) answers.push_back(Choose(*rank, step, rows, gather));
    }
    return answers;
  }

 private:
  struct Rank {
    Rank(const VocabCut& vocab_cut, const SlotStateShape& shape)
        : cut(vocab_cut),
          bytes(Unwritten<std::byte>(SlotStateBytes(shape))),
          state(SlotStateIn(bytes.data(), shape)) {}
    VocabCut cut;
    DeviceBuffer bytes;
    SlotState state;
  };

  ExchangePart Part(const Rank& rank) const { return {totals_, rank.cut.held()}; }

  void LayOut(const std::vector<AskedRow>& asked) {
    rows_.clear();
    totals_ = {};
    told_count_ = 0;
    for (const AskedRow& row : asked) {
      const bool samples = row.next_token < 0;
      const bool whole = samples && RouteOf(row.sampling) == SamplingRoute::kLogits;
      const int32_t candidates = samples && !whole ? CandidateCount(row.sampling) : 0;
      const bool tells = row.best >= 0;
      const RowShare share{.logits = whole,
                           .candidates = candidates,
                           .tiles = tells,
                           .best = tells ? row.best : 0,
                           .raw_logits = !tells    ? 0
                                         : samples ? candidates
                                                   : 1};
      rows_.push_back({.slot = row.slot,
                       .logits_row = static_cast<int32_t>(rows_.size()),
                       .position = row.position,
                       .next_token = row.next_token,
                       .told = tells ? told_count_++ : -1,
                       .share = share,
                       .before = totals_});
      totals_.Add(share);
    }
  }

  void Offer(const Rank& rank, const std::vector<AskedRow>& asked, const DeviceBuffer& step,
             const DeviceBuffer& rows, std::byte* out) const {
    const int64_t held = rank.cut.held();
    const auto row_count = static_cast<int64_t>(asked.size());
    std::vector<float> run;
    for (const AskedRow& row : asked) {
      const auto begin = row.logits.begin() + rank.cut.begin();
      run.insert(run.end(), begin, begin + held);
    }
    const DeviceBuffer logits = ToDevice(run, stream_);
    const DeviceBuffer workspace = Unwritten<std::byte>(OfferWorkspaceBytes(row_count, held));
    const DeviceBuffer send = Unwritten<std::byte>(std::max<int64_t>(Part(rank).bytes(), 1));
    OfferRows({.step = step.as<SamplingStep>(),
               .rows = rows.as<SamplingRow>(),
               .logits = logits.as<float>(),
               .state = rank.state,
               .workspace = workspace.data(),
               .send = send.data(),
               .rows_max = row_count,
               .cut = rank.cut},
              stream_);
    EXPECT_TRUE(SameBits(ToHost<float>(logits, stream_), run));  // raw logits are not changed
    CopyOnDevice(out, send.data(), Part(rank).bytes(), stream_);
    Synchronize(stream_);
  }

  std::vector<Answer> Choose(const Rank& rank, const DeviceBuffer& step, const DeviceBuffer& rows,
                             const DeviceBuffer& gather) const {
    const DeviceBuffer tokens = Unwritten<int32_t>(static_cast<int64_t>(rows_.size()));
    const DeviceBuffer told = Unwritten<RowLogprobs>(std::max(told_count_, 1));
    ChooseRows({.step = step.as<SamplingStep>(),
                .rows = rows.as<SamplingRow>(),
                .gather = gather.data(),
                .state = rank.state,
                .tokens = tokens.as<int32_t>(),
                .told = told.as<RowLogprobs>(),
                .rows_max = static_cast<int64_t>(rows_.size()),
                .cut = rank.cut},
               stream_);
    const std::vector<int32_t> chosen = ToHost<int32_t>(tokens, stream_);
    const std::vector<RowLogprobs> all_told = ToHost<RowLogprobs>(told, stream_);
    std::vector<Answer> answers;
    for (size_t i = 0; i < rows_.size(); ++i) {
      answers.push_back({.token = rows_[i].next_token < 0 ? chosen[i] : rows_[i].next_token});
      if (rows_[i].told >= 0) answers.back().told = all_told[static_cast<size_t>(rows_[i].told)];
    }
    return answers;
  }

  Stream& stream_ = TestGpu()->stream();
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<SamplingRow> rows_;
  ExchangeSums totals_;
  int32_t told_count_ = 0;
};

}  // namespace octet::kernels::test
