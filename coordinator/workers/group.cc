#include "coordinator/workers/group.h"

#include <algorithm>
#include <utility>

namespace octet::workers {
namespace {

std::string Seconds(double seconds) { return std::to_string(static_cast<int64_t>(seconds)) + " s"; }

std::string Named(int32_t rank, int64_t pid) {
  return "rank " + std::to_string(rank) + " (process " + std::to_string(pid) + ")";
}

}  // namespace

Status Group::OnHello(uint64_t stream, const v1::Hello& hello, double now_seconds) {
  OCTET_RETURN_IF_ERROR(table_.CheckLaunch(hello));
  Status status = streams_.contains(stream)
                      ? FailedPrecondition("rank " + std::to_string(hello.rank()) +
                                           " said hello twice on one connection")
                      : table_.Add(hello);
  if (!status.ok()) {
    Lose({.cause = status, .configuration = true});
    return status;
  }
  Rank& rank = streams_[stream];
  rank.rank = hello.rank();
  rank.pid = hello.pid();
  rank.host = hello.host();
  rank.heard_seconds = progress_seconds_ = now_seconds;
  rank.heartbeats.Add(now_seconds, {});  // it has done nothing yet
  if (hello.rank() == 0) leader_stream_ = stream;
  return {};
}

void Group::OnReady(uint64_t stream, const v1::Ready& ready, double now_seconds) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  found->second.heard_seconds = progress_seconds_ = now_seconds;
  found->second.loaded = 1;
  if (Status status = table_.SetReady(found->second.rank, ready); !status.ok())
    Lose({.cause = status, .configuration = true});
}

void Group::OnHeartbeat(uint64_t stream, const v1::Heartbeat& heartbeat, double now_seconds) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  Rank& rank = found->second;
  rank.heard_seconds = now_seconds;
  if (heartbeat.progress() != rank.progress) progress_seconds_ = now_seconds;
  rank.progress = heartbeat.progress();
  if (!table_.is_ready(rank.rank)) rank.loaded = heartbeat.loaded();
  rank.heartbeats.Add(now_seconds,
                      {.steps = heartbeat.steps_done(),
                       .step_us = heartbeat.step_us(),
                       .collective_us = heartbeat.collective_us(),
                       .sampling_us = heartbeat.sampling_us()},
                      heartbeat.slowest_step_us());
}

bool Group::OnResult(uint64_t stream, double now_seconds) {
  if (stream != leader_stream_ || !ready()) return false;
  if (plans_in_flight_ == 0) {
    Lose({.cause = DataLoss("rank 0 sent a result for which there was no plan")});
    return false;
  }
  --plans_in_flight_;
  progress_seconds_ = now_seconds;
  streams_.at(stream).heard_seconds = now_seconds;
  return true;
}

void Group::OnFailure(uint64_t stream, const v1::Failure& failure) {
  if (!streams_.contains(stream)) return;
  const int code = failure.code() >= 1 && failure.code() <= 16 ? failure.code() : 13;
  Lose({.cause = Status(static_cast<StatusCode>(code), failure.message()),
        .configuration = !table_.complete()});
}

void Group::OnStreamEnd(uint64_t stream) {
  const auto ended = streams_.extract(stream);
  if (ended.empty()) return;
  Lose({.cause = Unavailable(Named(ended.mapped().rank, ended.mapped().pid) + " died"),
        .process_ended = true});
}

void Group::OnPlanSent(double now_seconds) {
  if (plans_in_flight_++ == 0) progress_seconds_ = now_seconds;
}

bool Group::responsive(double now_seconds) const {
  for (const auto& [stream, rank] : streams_) {
    if (now_seconds - rank.heard_seconds > kUnheardSeconds) return false;
  }
  return plans_in_flight_ == 0 || now_seconds - progress_seconds_ <= kStalledSeconds;
}

void Group::CheckDeadlines(double now_seconds) {
  if (table_.present() < table_.ranks() && now_seconds - launched_ > deadlines_.hello_seconds_max)
    Lose({.cause = Unavailable("only " + std::to_string(table_.present()) + " of " +
                               std::to_string(table_.ranks()) + " ranks had said hello " +
                               Seconds(deadlines_.hello_seconds_max) + " after their launch")});
  for (const auto& [stream, rank] : streams_) {
    if (now_seconds - rank.heard_seconds > deadlines_.heartbeat_seconds_max)
      Lose({.cause = Unavailable(Named(rank.rank, rank.pid) + " has not been heard of for " +
                                 Seconds(deadlines_.heartbeat_seconds_max))});
  }
  const double stalled = now_seconds - progress_seconds_;
  if (table_.present() == table_.ranks() && !table_.complete() &&
      stalled > deadlines_.load_stall_seconds_max)
    Lose({.cause = Unavailable("no rank has got on with loading for " +
                               Seconds(deadlines_.load_stall_seconds_max) + LastInLoading())});
  if (plans_in_flight_ > 0 && stalled > deadlines_.step_stall_seconds_max)
    Lose({.cause = Unavailable("a step has not got on for " +
                               Seconds(deadlines_.step_stall_seconds_max) + LastInStep())});
}

void Group::SkipSilence(double seconds) {
  launched_ += seconds;
  progress_seconds_ += seconds;
  for (auto& [stream, rank] : streams_) rank.heard_seconds += seconds;
}

std::string Group::LastInLoading() const {
  const Rank* last = nullptr;
  for (const auto& [stream, rank] : streams_) {
    if (!table_.is_ready(rank.rank) && (last == nullptr || rank.loaded < last->loaded))
      last = &rank;
  }
  if (last == nullptr) return "";
  return "; " + Named(last->rank, last->pid) + " has loaded " +
         std::to_string(static_cast<int>(last->loaded * 100)) + " % of its weights";
}

std::string Group::LastInStep() const {
  const Rank* last = nullptr;
  bool all_alike = true;
  for (const auto& [stream, rank] : streams_) {
    all_alike = all_alike && (last == nullptr || rank.progress == last->progress);
    if (last == nullptr || rank.progress < last->progress) last = &rank;
  }
  return all_alike ? "" : "; " + Named(last->rank, last->pid) + " is behind the others";
}

void Group::Lose(GroupLoss loss) {
  if (!loss_.has_value()) loss_ = std::move(loss);
}

std::vector<Group::OpenRank> Group::open_ranks() const {
  std::vector<OpenRank> out;
  for (const auto& [stream, rank] : streams_)
    out.push_back({stream, rank.rank, rank.pid, rank.host});
  return out;
}

std::vector<RankStats> Group::rank_stats(double now_seconds) const {
  std::vector<RankStats> out;
  for (const auto& [stream, rank] : streams_) {
    out.push_back(rank.heartbeats.Stats(rank.rank));
    out.back().heartbeat_age_seconds = now_seconds - rank.heard_seconds;
    out.back().loaded = rank.loaded;
  }
  std::sort(out.begin(), out.end(),
            [](const RankStats& a, const RankStats& b) { return a.rank < b.rank; });
  return out;
}

}  // namespace octet::workers
