#include "coordinator/workers/group.h"

#include <algorithm>
#include <utility>

namespace octet::workers {
namespace {

std::string Seconds(double seconds) { return std::to_string(static_cast<int64_t>(seconds)) + " s"; }

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
  Rank& rank = streams_[stream] = {hello.rank(), hello.pid(), now_seconds, {}};
  rank.heartbeats.Add(now_seconds, 0, 0, 0);  // it has done nothing yet
  if (hello.rank() == 0) leader_stream_ = stream;
  return {};
}

void Group::OnHeartbeat(uint64_t stream, const v1::Heartbeat& heartbeat, double now_seconds) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  found->second.heard_seconds = now_seconds;
  found->second.heartbeats.Add(now_seconds, heartbeat.steps_done(), heartbeat.step_us(),
                               heartbeat.collective_us());
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

void Group::OnFailure(uint64_t stream, const v1::Failure& failure, bool trusted) {
  const auto found = streams_.find(stream);
  if (found == streams_.end() && !trusted) return;
  const int code = failure.code() >= 1 && failure.code() <= 16 ? failure.code() : 13;
  Lose({.cause = Status(static_cast<StatusCode>(code), failure.message()),
        .configuration = !table_.complete()});
}

void Group::OnStreamEnd(uint64_t stream) {
  const auto ended = streams_.extract(stream);
  if (ended.empty()) return;
  Lose({.cause = Unavailable("rank " + std::to_string(ended.mapped().rank) + " (process " +
                             std::to_string(ended.mapped().pid) + ") died"),
        .process_ended = true});
}

void Group::OnPlanSent(double now_seconds) {
  if (plans_in_flight_++ == 0) progress_seconds_ = now_seconds;
}

void Group::CheckDeadlines(double now_seconds) {
  if (!table_.complete()) {
    if (now_seconds - launched_ > deadlines_.start_seconds_max)
      Lose({.cause = Unavailable("only " + std::to_string(table_.present()) +
                                 " of the ranks were ready " +
                                 Seconds(deadlines_.start_seconds_max) + " after their start")});
  }
  for (const auto& [stream, rank] : streams_) {
    if (now_seconds - rank.heard_seconds > deadlines_.heartbeat_seconds_max)
      Lose({.cause = Unavailable("rank " + std::to_string(rank.rank) + " (process " +
                                 std::to_string(rank.pid) + ") has not been heard of for " +
                                 Seconds(deadlines_.heartbeat_seconds_max))});
  }
  if (plans_in_flight_ > 0 && now_seconds - progress_seconds_ > deadlines_.step_seconds_max)
    Lose({.cause =
              Unavailable("a step was not done after " + Seconds(deadlines_.step_seconds_max))});
}

void Group::Lose(GroupLoss loss) {
  if (!loss_.has_value()) loss_ = std::move(loss);
}

std::vector<Group::OpenRank> Group::open_ranks() const {
  std::vector<OpenRank> out;
  for (const auto& [stream, rank] : streams_) out.push_back({stream, rank.rank, rank.pid});
  return out;
}

std::vector<RankStats> Group::rank_stats(double now_seconds) const {
  std::vector<RankStats> out;
  for (const auto& [stream, rank] : streams_) {
    out.push_back(rank.heartbeats.Stats(rank.rank));
    out.back().heartbeat_age_seconds = now_seconds - rank.heard_seconds;
  }
  std::sort(out.begin(), out.end(),
            [](const RankStats& a, const RankStats& b) { return a.rank < b.rank; });
  return out;
}

}  // namespace octet::workers
