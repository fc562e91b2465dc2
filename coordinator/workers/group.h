// One worker group from launch to loss: which stream is which rank, who was last heard of, who gets
// on with its work, and the first reason why the group can not go on. Pure state; its owner brings
// the lock, the time and every action.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "coordinator/workers/group_stats.h"
#include "coordinator/workers/heartbeat_window.h"
#include "coordinator/workers/rank_table.h"

namespace octet::workers {

struct GroupDeadlines {
  double hello_seconds_max = 60;        // from launch until every rank has said hello
  double heartbeat_seconds_max = 10;    // ranks send one every half second
  double load_stall_seconds_max = 120;  // no rank gets on, and not all are ready
  double step_stall_seconds_max = 60;   // no rank gets on with a step: ends not one collective
};

// From here on a group is no more than perhaps alive. It is not lost yet.
inline constexpr double kUnheardSeconds = 3;
inline constexpr double kStalledSeconds = 10;

struct GroupLoss {
  Status cause;
  // The group can never start as it is configured: a rank said so, or ranks do not fit together.
  bool configuration = false;
  // A process ended; the launcher will see it too, and say how it was.
  bool process_ended = false;
};

class Group {
 public:
  Group(uint64_t epoch, std::string secret, int32_t ranks, const GroupDeadlines& deadlines,
        double now_seconds)
      : table_(epoch, std::move(secret), ranks),
        deadlines_(deadlines),
        launched_(now_seconds),
        progress_seconds_(now_seconds) {}

  // Not ok: the stream is to be closed with this status. PermissionDenied leaves the group as it
  // was; everything else is a loss.
  Status OnHello(uint64_t stream, const v1::Hello& hello, double now_seconds);
  // What comes from a stream that has not said hello counts for nothing.
  void OnReady(uint64_t stream, const v1::Ready& ready, double now_seconds);
  void OnHeartbeat(uint64_t stream, const v1::Heartbeat& heartbeat, double now_seconds);
  // Whether the result is one of this group's rank 0.
  bool OnResult(uint64_t stream, double now_seconds);
  void OnFailure(uint64_t stream, const v1::Failure& failure);
  void OnStreamEnd(uint64_t stream);
  void OnPlanSent(double now_seconds);
  void CheckDeadlines(double now_seconds);
  // So much of the time that has passed counts for no deadline.
  void SkipSilence(double seconds);
  void Lose(GroupLoss loss);  // the first loss stands

  bool ready() const { return table_.complete() && !loss_.has_value(); }
  int32_t present() const { return table_.present(); }  // ranks that have said hello
  // Every rank was heard of a moment ago, and a step that is due gets on.
  bool responsive(double now_seconds) const;
  const std::optional<GroupLoss>& loss() const { return loss_; }
  GroupInfo info() const { return table_.info(); }           // REQUIRES: ready()
  uint64_t leader_stream() const { return leader_stream_; }  // 0: rank 0 has not said hello

  struct OpenRank {
    uint64_t stream;
    int32_t rank;
    int64_t pid;
    std::string host;  // where pid means it
  };
  std::vector<OpenRank> open_ranks() const;  // whose stream has not ended
  bool has_open_ranks() const { return !streams_.empty(); }
  std::vector<RankStats> rank_stats(double now_seconds) const;  // of those, by rank

 private:
  struct Rank {
    int32_t rank = 0;
    int64_t pid = 0;
    std::string host;
    double heard_seconds = 0;
    uint64_t progress = 0;
    double loaded = 0;  // of the weights, 0 to 1
    HeartbeatWindow heartbeats;
  };

  // The rank that has come the least far, where one has.
  std::string LastInLoading() const;
  std::string LastInStep() const;

  RankTable table_;
  GroupDeadlines deadlines_;
  double launched_;
  std::unordered_map<uint64_t, Rank> streams_;
  uint64_t leader_stream_ = 0;
  int64_t plans_in_flight_ = 0;
  // When some rank last got on: a hello, a ready, progress in a heartbeat, a result; or the plan
  // that ended an idle time.
  double progress_seconds_;
  std::optional<GroupLoss> loss_;
};

}  // namespace octet::workers
