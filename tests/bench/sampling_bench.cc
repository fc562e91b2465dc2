// Sampling on a GPU: what the kernels after the head take, and what share of the memory's bandwidth
// the scan of the logits reaches. One JSON line for each route and number of rows.
//
//   octet_sampling_bench [vocab]    152064 unless told otherwise
//
// The bound is the logits read once: 4 * vocab bytes a row.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "base/device/device.h"
#include "kernels/sampling/device/choose_rows.h"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/slot_updates.h"

namespace octet::kernels {
namespace {

constexpr int kWarmups = 5;
constexpr int kRepeats = 50;
constexpr int64_t kRowsMax = 256;

struct Route {
  const char* name;
  SamplingParams sampling;
  bool penalizes = false;
  int32_t logprobs = -1;
};
constexpr Route kRoutes[] = {
    {"greedy", {.temperature = 0}},
    {"temperature", {.temperature = 1}},
    {"temperature, penalties", {.temperature = 1}, true},
    {"temperature, 5 log-probabilities", {.temperature = 1}, false, 5},
    {"top-k 50", {.temperature = 1, .top_k = 50}},
    {"top-p 0.9", {.temperature = 1, .top_p = 0.9f}},
    {"min-p 0.05", {.temperature = 1, .min_p = 0.05f}},
};

DeviceBuffer Allocated(int64_t bytes) {
  Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(bytes);
  if (!buffer.ok()) CheckFailed(__FILE__, __LINE__, buffer.status().message());
  return std::move(buffer).value();
}

template <typename T>
void Upload(const DeviceBuffer& to, const std::vector<T>& values, Stream& stream) {
  CopyToDevice(to.data(), values.data(), static_cast<int64_t>(values.size() * sizeof(T)), stream);
  Synchronize(stream);
}

double MedianMicroseconds(Stream& stream, const std::function<void()>& run) {
  std::vector<double> microseconds;
  for (int i = 0; i < kWarmups + kRepeats; ++i) {
    Event begin, end;
    begin.Record(stream);
    run();
    end.Record(stream);
    end.Synchronize();
    if (i >= kWarmups) microseconds.push_back(1e3 * Event::MillisecondsBetween(begin, end));
  }
  std::nth_element(microseconds.begin(), microseconds.begin() + kRepeats / 2, microseconds.end());
  return microseconds[kRepeats / 2];
}

class SamplingBench {
 public:
  SamplingBench(int64_t vocab, Stream* stream)
      : stream_(*stream),
        vocab_(vocab),
        shape_{.slots = kRowsMax, .vocab = vocab},
        state_bytes_(Allocated(SlotStateBytes(shape_))),
        state_(SlotStateIn(state_bytes_.data(), shape_)),
        updates_(Allocated(SlotUpdateBytes(kRowsMax, kRowsMax * kHistory))),
        logits_(Allocated(kRowsMax * vocab * 4)),
        workspace_(Allocated(OfferWorkspaceBytes(kRowsMax, vocab))),
        exchange_(Allocated(kRowsMax * (vocab * 4 + 65536))),
        step_(Allocated(sizeof(SamplingStep))),
        rows_(Allocated(kRowsMax * int64_t{sizeof(SamplingRow)})),
        tokens_(Allocated(kRowsMax * 4)),
        told_(Allocated(kRowsMax * int64_t{sizeof(RowLogprobs)})) {
    cut_.bounds[1] = static_cast<int32_t>(vocab);
    std::mt19937 engine(1);
    std::normal_distribution<float> draw(0, 2.5f);
    std::vector<float> logits(static_cast<size_t>(kRowsMax * vocab));
    for (float& logit : logits) logit = draw(engine);
    Upload(logits_, logits, stream_);
  }

  void Run(const Route& route, int64_t rows) {
    Admit(route, rows);
    LayOut(route, rows);
    const OfferRowsArgs offer{.step = step_.as<SamplingStep>(),
                              .rows = rows_.as<SamplingRow>(),
                              .logits = logits_.as<float>(),
                              .state = state_,
                              .workspace = workspace_.data(),
                              .send = exchange_.data(),
                              .rows_max = rows,
                              .cut = cut_};
    const ChooseRowsArgs choose{.step = step_.as<SamplingStep>(),
                                .rows = rows_.as<SamplingRow>(),
                                .gather = exchange_.data(),
                                .state = state_,
                                .tokens = tokens_.as<int32_t>(),
                                .told = told_.as<RowLogprobs>(),
                                .rows_max = rows,
                                .cut = cut_};
    const double offer_us = MedianMicroseconds(stream_, [&] { OfferRows(offer, stream_); });
    const double choose_us = MedianMicroseconds(stream_, [&] { ChooseRows(choose, stream_); });
    const double bytes = static_cast<double>(rows * vocab_ * 4);
    std::printf(
        "{\"route\": \"%s\", \"rows\": %lld, \"vocab\": %lld, \"offer_us\": %.2f, "
        "\"choose_us\": %.2f, \"logits_bytes\": %.0f, \"offer_bytes_per_s\": %.4g}\n",
        route.name, static_cast<long long>(rows), static_cast<long long>(vocab_), offer_us,
        choose_us, bytes, bytes / (offer_us * 1e-6));
  }

 private:
  static constexpr int64_t kHistory = 2048;  // tokens of a sequence that penalizes

  void Admit(const Route& route, int64_t rows) {
    std::vector<std::byte> bytes(
        static_cast<size_t>(SlotUpdateBytes(kRowsMax, kRowsMax * kHistory)));
    SlotUpdateList list(bytes, kRowsMax);
    std::vector<int32_t> history;
    for (int64_t i = 0; i < kHistory; ++i) {
      history.push_back(static_cast<int32_t>(i * 7919 % vocab_));
    }
    for (int32_t slot = 0; slot < rows; ++slot) {
      SlotAdmission admission{.slot = slot, .sampling = route.sampling, .prompt_tokens = 1024};
      admission.sampling.seed = static_cast<uint64_t>(slot);
      if (route.penalizes) {
        admission.penalties = {1.1f, 0.2f, 0.1f};
        admission.cached_tokens = history;
      }
      OCTET_CHECK(list.Add(admission));
    }
    CopyToDevice(updates_.data(), bytes.data(), list.used_bytes(), stream_);
    ApplySlotUpdates({.updates = updates_.data(),
                      .updates_max = kRowsMax,
                      .count = list.count(),
                      .state = state_},
                     stream_);
    Synchronize(stream_);
  }

  void LayOut(const Route& route, int64_t row_count) {
    std::vector<SamplingRow> rows;
    ExchangeSums totals;
    const bool tells = route.logprobs >= 0;
    const int32_t candidates = CandidateCount(route.sampling);
    for (int32_t i = 0; i < row_count; ++i) {
      const RowShare share{.logits = candidates == 0,
                           .candidates = candidates,
                           .tiles = tells,
                           .best = tells ? route.logprobs : 0,
                           .raw_logits = tells ? candidates : 0};
      rows.push_back({.slot = i,
                      .logits_row = i,
                      .position = kHistory,
                      .told = tells ? i : -1,
                      .share = share,
                      .before = totals});
      totals.Add(share);
    }
    Upload(step_, std::vector<SamplingStep>{{totals}}, stream_);
    Upload(rows_, rows, stream_);
  }

  Stream& stream_;
  int64_t vocab_;
  SlotStateShape shape_;
  VocabCut cut_;
  DeviceBuffer state_bytes_;
  SlotState state_;
  DeviceBuffer updates_;
  DeviceBuffer logits_;  // [kRowsMax, vocab] f32
  DeviceBuffer workspace_;
  DeviceBuffer exchange_;  // of one rank: sent and gathered
  DeviceBuffer step_;
  DeviceBuffer rows_;
  DeviceBuffer tokens_;
  DeviceBuffer told_;
};

int Main(int argc, char** argv) {
  const int64_t vocab = argc > 1 ? std::atoll(argv[1]) : 152064;
  if (vocab < 1 || vocab > kSampledVocabMax) {
    std::fprintf(stderr, "a vocabulary has 1 to %lld tokens\n",
                 static_cast<long long>(kSampledVocabMax));
    return 2;
  }
  Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
  if (!gpu.ok()) {
    std::fprintf(stderr, "%s\n", gpu.status().message().c_str());
    return 1;
  }
  std::printf("{\"device\": \"%s\"}\n", (*gpu)->info().name.c_str());
  SamplingBench bench(vocab, &(*gpu)->stream());
  for (const Route& route : kRoutes) {
    for (int64_t rows = 1; rows <= kRowsMax; rows *= 4) bench.Run(route, rows);
  }
  return 0;
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) { return octet::kernels::Main(argc, argv); }
