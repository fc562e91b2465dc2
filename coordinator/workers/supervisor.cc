#include "coordinator/workers/supervisor.h"

#include <signal.h>
#include <sys/random.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/host_identity.h"
#include "base/log.h"
#include "coordinator/workers/loss_explanation.h"
#include "coordinator/workers/plan_message.h"
#include "coordinator/workers/process.h"

namespace octet::workers {
namespace {

constexpr double kTickSeconds = 0.5;          // how often deadlines are looked at
constexpr double kLateSeconds = 1;            // no busy machine delays a look by so much
constexpr double kLauncherNoticeSeconds = 3;  // in which mpirun sees a death and says how it was
constexpr double kHurrySeconds = 1;
constexpr size_t kEarlyHellosMax = 2 * kRanksMax;

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string NewSecret() {
  unsigned char bytes[16];
  OCTET_CHECK_EQ(getrandom(bytes, sizeof(bytes), 0), static_cast<ssize_t>(sizeof(bytes)));
  std::string secret;
  for (const unsigned char byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    secret += kDigits[byte >> 4];
    secret += kDigits[byte & 15];
  }
  return secret;
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::Open(SupervisorOptions options,
                                                     GroupListener* listener) {
  if (options.launch.launcher != kLauncherExternal)
    OCTET_RETURN_IF_ERROR(CheckLaunchable(options.launch));
  OCTET_ASSIGN_OR_RETURN(SessionDir session, SessionDir::Create());
  std::unique_ptr<Supervisor> supervisor(
      new Supervisor(std::move(options), listener, std::move(session)));
  OCTET_ASSIGN_OR_RETURN(supervisor->link_,
                         LinkServer::Start(supervisor->link_address_, supervisor.get()));
  return supervisor;
}

void Supervisor::Launch() {
  // The first group is there before anyone can know where to dial in.
  thread_ = std::thread([this, first = OpenGroup(1)] { Run(first); });
}

Supervisor::Supervisor(SupervisorOptions options, GroupListener* listener, SessionDir session)
    : options_(std::move(options)),
      listener_(listener),
      session_(std::move(session)),
      host_(HostIdentity()),
      restarts_(options_.restart_delays_seconds) {
  link_address_ =
      options_.link_address.empty() ? "unix:" + session_.path() + "/link" : options_.link_address;
}

Supervisor::~Supervisor() {
  Stop();
  link_.reset();
}

void Supervisor::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Supervisor::Hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurrying_ = true;
  }
  changed_.notify_all();
}

void Supervisor::SendPlan(uint64_t epoch, const schedule::StepPlan& plan) {
  v1::CoordinatorMessage message;
  *message.mutable_plan() = ToMessage(plan);
  const std::lock_guard lock(mutex_);
  if (epoch != group_epoch_ || !group_.has_value() || !group_->ready()) return;
  group_->OnPlanSent(NowSeconds());
  link_->Send(group_->leader_stream(), std::move(message));
}

GroupStats Supervisor::stats() const {
  const std::lock_guard lock(mutex_);
  GroupStats stats;
  stats.groups_lost = groups_lost_;
  stats.last_loss = last_loss_;
  stats.last_recovery = last_recovery_;
  if (group_.has_value()) stats.ranks = group_->rank_stats(NowSeconds());
  return stats;
}

void Supervisor::Condemn(uint64_t epoch, const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (epoch != group_epoch_ || !group_.has_value()) return;
    group_->Lose({.cause = why});
  }
  changed_.notify_all();
}

void Supervisor::OnMessage(uint64_t stream, const v1::RankMessage& message) {
  std::unique_lock lock(mutex_);
  if (!group_.has_value() || group_->loss().has_value()) {
    if (message.has_hello()) KeepEarlyHello(stream, message.hello());
    return;
  }
  switch (message.message_case()) {
    case v1::RankMessage::kHello:
      OnHello(stream, message.hello());
      break;
    case v1::RankMessage::kHeartbeat:
      group_->OnHeartbeat(stream, message.heartbeat(), NowSeconds());
      return;
    case v1::RankMessage::kResult: {
      if (!group_->OnResult(stream, NowSeconds())) break;
      const uint64_t epoch = group_epoch_;
      const std::optional<RecoveryTimes> recovered = recovery_.Result(NowSeconds());
      if (recovered.has_value()) last_recovery_ = recovered;
      lock.unlock();
      if (recovered.has_value())
        Log(LogLevel::kInfo, "the workers are back after " + Describe(*recovered));
      return listener_->OnStepResult(epoch, message.result());
    }
    case v1::RankMessage::kReady:
      group_->OnReady(stream, message.ready(), NowSeconds());
      break;
    case v1::RankMessage::kFailure:
      group_->OnFailure(stream, message.failure());
      break;
    case v1::RankMessage::MESSAGE_NOT_SET:
      return;
  }
  lock.unlock();
  changed_.notify_all();
}

// REQUIRES: mutex_ is held and there is a group.
void Supervisor::OnHello(uint64_t stream, const v1::Hello& hello) {
  if (Status status = group_->OnHello(stream, hello, NowSeconds()); !status.ok()) {
    Log(LogLevel::kWarning, "a worker was refused: " + status.message());
    return link_->Close(stream, status);
  }
  v1::CoordinatorMessage welcome;
  welcome.mutable_welcome();
  link_->Send(stream, std::move(welcome));
}

// A rank that someone else started may come before the group that was lost is cleared away: it
// waits for the next. REQUIRES: mutex_ is held.
void Supervisor::KeepEarlyHello(uint64_t stream, const v1::Hello& hello) {
  if (early_hellos_.size() < kEarlyHellosMax)
    early_hellos_[stream] = hello;
  else
    link_->Close(stream, ResourceExhausted("too many ranks wait for a group of workers"));
}

void Supervisor::OnStreamEnd(uint64_t stream) {
  {
    const std::lock_guard lock(mutex_);
    early_hellos_.erase(stream);
    if (group_.has_value()) group_->OnStreamEnd(stream);
  }
  changed_.notify_all();
}

void Supervisor::Run(LaunchIdentity identity) {
  for (uint64_t epoch = 1;; identity = OpenGroup(++epoch)) {
    const std::optional<GroupLoss> loss = RunGroup(epoch, identity);
    if (!loss.has_value()) return;
    const std::optional<double> delay = NextDelay(*loss);
    if (!delay.has_value()) return listener_->OnGiveUp(*loss);
    Log(LogLevel::kWarning, "the worker group is lost: " + loss->cause.message() +
                                "; starting another in " +
                                std::to_string(static_cast<int>(*delay)) + " s");
    std::unique_lock lock(mutex_);
    WaitSeconds(*delay, lock, [this] { return stopping_; });
    if (stopping_) return;
  }
}

// Of the next group, or nothing: not after a group that would change running answers. Before any
// has worked not after a configuration that can not work, nor where the launcher gave up before any
// rank lived.
std::optional<double> Supervisor::NextDelay(const GroupLoss& loss) {
  const std::lock_guard lock(mutex_);
  if (differs_) return std::nullopt;
  const bool starts_may_fail = first_info_.has_value();
  if (starts_may_fail && !was_ready_) return restarts_.AfterFailedStart(NowSeconds());
  if (!starts_may_fail && (loss.configuration || !(seen_alive_ || death_noticed_)))
    return std::nullopt;
  return restarts_.AfterLoss(NowSeconds());
}

bool Supervisor::WaitSeconds(double seconds_max, std::unique_lock<std::mutex>& lock,
                             const std::function<bool()>& done) {
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds_max), done);
}

void Supervisor::WaitUnlessHurried(double seconds_max, std::unique_lock<std::mutex>& lock,
                                   const std::function<bool()>& done) {
  WaitSeconds(seconds_max, lock, [this, &done] { return hurrying_ || done(); });
}

LaunchIdentity Supervisor::OpenGroup(uint64_t epoch) {
  LaunchIdentity identity;
  identity.link_address = link_address_;
  identity.epoch = launches() ? epoch : 0;
  identity.secret = options_.secret.empty() ? NewSecret() : options_.secret;
  identity.session_path = session_.path();
  identity.shared_memory_path = session_.shared_memory_path();

  const std::lock_guard lock(mutex_);
  group_.emplace(identity.epoch, identity.secret, options_.launch.ranks, options_.deadlines,
                 NowSeconds());
  group_epoch_ = epoch;
  death_noticed_ = false;
  recovery_.Launched(NowSeconds());
  for (const auto& [stream, hello] : std::exchange(early_hellos_, {})) OnHello(stream, hello);
  return identity;
}

// Something tells that a process of the launch ended; its own threads call this.
void Supervisor::OnProcessEnd(const char* what) {
  {
    const std::lock_guard lock(mutex_);
    if (group_.has_value()) group_->Lose({.cause = Unavailable(what), .process_ended = true});
  }
  changed_.notify_all();
}

std::optional<GroupLoss> Supervisor::RunGroup(uint64_t epoch, const LaunchIdentity& identity) {
  was_ready_ = false;
  std::unique_ptr<Process> process;
  if (launches()) {
    ProcessOptions command = LaunchCommand(options_.launch, identity);
    command.on_line = [this](const std::string& line) {
      if (!IsDeathNotice(line)) return;
      {
        const std::lock_guard lock(mutex_);
        death_noticed_ = true;
      }
      OnProcessEnd("a rank died");
    };
    auto started = Process::Start(command, [this] { OnProcessEnd("the workers ended"); });
    if (!started.ok()) {
      const std::lock_guard lock(mutex_);
      last_loss_ = started.status().message();
      group_.reset();
      return GroupLoss{started.status(), /*configuration=*/true};
    }
    process = std::move(*started);
  }
  std::unique_lock lock(mutex_);
  was_ready_ = WatchGroup(epoch, lock);
  seen_alive_ = group_->present() > 0;
  std::optional<GroupLoss> loss;
  if (!stopping_) loss = group_->loss();
  if (loss.has_value()) {
    last_loss_ = loss->cause.message();
    if (was_ready_) {
      ++groups_lost_;
      recovery_.Lost(NowSeconds());
      lock.unlock();
      listener_->OnGroupLost(epoch, loss->cause);
      lock.lock();
    }
    std::string exit;
    // Ranks that end by themselves say more than those that are killed.
    const bool ends_by_itself = loss->process_ended || loss->configuration;
    if (process != nullptr && ends_by_itself) exit = AwaitLauncher(process.get(), lock);
    ClearGroup(process.get(), lock);
    if (process != nullptr && !loss->configuration)
      loss->cause =
          Status(loss->cause.code(),
                 ExplainLoss({loss->cause.message(), loss->process_ended, options_.launch.launcher,
                              std::move(exit), process->LastLines()}));
    last_loss_ = loss->cause.message();  // it may be better known now
    recovery_.Ended(NowSeconds());
  } else {
    StopGroup(process.get(), lock);
  }
  group_.reset();
  lock.unlock();
  process.reset();
  return loss;
}

// Returns when the group is lost or the service stops; whether the group was announced as ready.
bool Supervisor::WatchGroup(uint64_t epoch, std::unique_lock<std::mutex>& lock) {
  bool announced = false;
  bool responsive = true;
  while (!stopping_ && !group_->loss().has_value()) {
    if (group_->present() == options_.launch.ranks) recovery_.Hello(NowSeconds());
    if (!announced && group_->ready()) {
      announced = AnnounceReady(epoch, lock);
      continue;
    }
    const double before = NowSeconds();
    changed_.wait_for(lock, std::chrono::duration<double>(kTickSeconds));
    const double now = NowSeconds();
    // This process stood still (a paused container or machine): nobody read what ranks said.
    if (const double late = now - before - kTickSeconds; late > kLateSeconds)
      group_->SkipSilence(late);
    group_->CheckDeadlines(now);
    if (!announced || group_->responsive(now) == responsive) continue;
    responsive = !responsive;
    lock.unlock();
    listener_->OnGroupResponsive(epoch, responsive);
    lock.lock();
  }
  return announced;
}

bool Supervisor::AnnounceReady(uint64_t epoch, std::unique_lock<std::mutex>& lock) {
  const GroupInfo info = group_->info();
  if (!first_info_.has_value()) first_info_ = info;
  if (Status same = CheckSameGroup(*first_info_, info, launches()); !same.ok()) {
    differs_ = true;
    group_->Lose({.cause = same, .configuration = true});
    return false;
  }
  recovery_.Ready(NowSeconds());
  lock.unlock();
  listener_->OnGroupReady(epoch, info);
  lock.lock();
  return true;
}

// The orderly end: the ranks are told, then made.
void Supervisor::StopGroup(Process* process, std::unique_lock<std::mutex>& lock) {
  const std::vector<Group::OpenRank> ranks = group_->open_ranks();
  for (const Group::OpenRank& rank : ranks) {
    v1::CoordinatorMessage message;
    message.mutable_shutdown();
    link_->Send(rank.stream, std::move(message));
  }
  // A group that is still loading can not be told.
  const bool told = group_->ready();
  const auto gone = [&] {
    return process != nullptr ? process->WaitExit(0) : !group_->has_open_ranks();
  };
  if (told) WaitUnlessHurried(options_.stop_seconds_max, lock, gone);
  ClearGroup(process, lock);
}

// How the launcher ended when left alone for a while; empty when it did not.
std::string Supervisor::AwaitLauncher(Process* process, std::unique_lock<std::mutex>& lock) {
  const auto exited = [process] { return process->WaitExit(0); };
  WaitUnlessHurried(kLauncherNoticeSeconds, lock, exited);
  return exited() ? process->DescribeExit() : "";
}

// Whatever still runs of the group is ended. The ranks first: mpirun ends when they have. It is
// asked once; a second signal would make it leave ranks of other hosts behind.
void Supervisor::ClearGroup(Process* process, std::unique_lock<std::mutex>& lock) {
  const double kill_seconds = hurrying_ ? kHurrySeconds : options_.kill_seconds_max;
  if (process != nullptr) {
    bool killed = false;
    for (const Group::OpenRank& rank : group_->open_ranks()) {
      // Its connection is open, so the process lives and its number is still its own.
      if (rank.pid <= 1 || host_.empty() || rank.host != host_) continue;
      killed = kill(static_cast<pid_t>(rank.pid), SIGKILL) == 0 || killed;
    }
    const auto exited = [process] { return process->WaitExit(0); };
    if (killed) WaitUnlessHurried(kLauncherNoticeSeconds, lock, exited);
    process->SignalGroup(SIGTERM);  // no-op when it has exited
    WaitUnlessHurried(kill_seconds, lock, exited);
    if (!exited()) WaitSeconds(kHurrySeconds, lock, exited);
    process->SignalGroup(SIGKILL);
  }
  for (const Group::OpenRank& rank : group_->open_ranks())
    link_->Close(rank.stream, Unavailable("the worker group has ended"));
  if (!WaitSeconds(kill_seconds, lock, [this] { return !group_->has_open_ranks(); }))
    Log(LogLevel::kWarning, "a rank of the ended worker group may still run");
}

}  // namespace octet::workers
