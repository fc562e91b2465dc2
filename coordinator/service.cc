#include "coordinator/service.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "coordinator/chat/chat_template.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/workers/plan_message.h"
#include "coordinator/workers/preflight.h"
#include "coordinator/workers/session_dir.h"

namespace octet::coordinator {
namespace {

constexpr int64_t kMaxWaitingMax = 1 << 20;
constexpr int64_t kMessageBytesMin = 1 << 16;
constexpr int64_t kMessageBytesMax = 1 << 30;
constexpr double kSecondsMax = 7 * 24 * 3600;
constexpr int64_t kHeartbeatSecondsMin = 1;  // ranks send one every half second
constexpr int64_t kStallSecondsMin = 1;
// In which ended streams are written out when the service stops.
constexpr double kFlushSecondsMax = 2;
constexpr auto kDrainPollInterval = std::chrono::milliseconds(20);

Status CheckWithin(const char* name, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return {};
  return InvalidArgument(std::string(name) + " is " + std::to_string(value) +
                         "; it must be between " + std::to_string(min) + " and " +
                         std::to_string(max));
}

Status CheckSeconds(const char* name, double value, int64_t min = 0) {
  if (value >= static_cast<double>(min) && value <= kSecondsMax) return {};
  return InvalidArgument(std::string(name) + " is " + std::to_string(value) +
                         "; it must be between " + std::to_string(min) + " and " +
                         std::to_string(static_cast<int64_t>(kSecondsMax)) + " seconds");
}

std::string ServedName(const ServeOptions& options) {
  if (!options.served_model_name.empty()) return options.served_model_name;
  std::string path = options.model_dir;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

workers::SupervisorOptions ToSupervisorOptions(const ServeOptions& options) {
  workers::SupervisorOptions out;
  out.launch = {options.launcher,    options.launcher_args, options.worker_binary,
                options.worker_args, options.ranks,         options.weight_cache};
  out.link_address = options.link_address;
  if (options.launcher == workers::kLauncherExternal) {
    const char* secret = getenv(workers::kSecretVariable);
    out.secret = secret != nullptr ? secret : "";
  }
  // Ranks that someone else starts come when they come.
  const bool external = options.launcher == workers::kLauncherExternal;
  out.deadlines = {external ? kSecondsMax : options.hello_seconds_max,
                   options.heartbeat_seconds_max, options.load_stall_seconds_max,
                   options.step_stall_seconds_max};
  out.restart_delays_seconds = options.restart_delays_seconds;
  return out;
}

schedule::SchedulerLimits ToSchedulerLimits(const workers::GroupInfo& info, int64_t waiting_max) {
  schedule::SchedulerLimits limits;
  limits.blocks = info.kv_blocks;
  limits.block_tokens = info.block_tokens;
  limits.slots = info.slots;
  limits.step_rows_max = info.step_rows_max;
  limits.context = info.context;
  limits.vocab = info.vocab;
  limits.rope_scaled_beyond = info.rope_scaled_beyond;
  // Intake has counted already: what it lets through all fits.
  limits.waiting_max = waiting_max + info.slots;
  return limits;
}

// The model's template. Nothing where it has none that can be used: the service then refuses chats
// and takes every other prompt.
std::shared_ptr<const chat::ChatTemplate> LoadChatTemplate(const std::string& model_dir) {
  auto loaded = chat::ChatTemplate::Load(model_dir);
  if (loaded.ok()) return std::make_shared<const chat::ChatTemplate>(std::move(*loaded));
  const bool has_none = loaded.status().code() == StatusCode::kNotFound;
  Log(has_none ? LogLevel::kInfo : LogLevel::kWarning,
      "chats are refused: " + loaded.status().message());
  return nullptr;
}

intake::ChatRenderer MakeChatRenderer(std::shared_ptr<const chat::ChatTemplate> chat) {
  if (chat == nullptr) return {};
  return [chat = std::move(chat)](
             const intake::Conversation& conversation) -> Result<intake::RenderedChat> {
    const std::time_t seconds = std::time(nullptr);
    chat::RenderRequest request{.messages = conversation.messages,
                                .tools = conversation.tools,
                                .add_generation_prompt = conversation.add_generation_prompt,
                                .extra = conversation.variables};
    localtime_r(&seconds, &request.now);
    OCTET_ASSIGN_OR_RETURN(chat::MarkedText prompt, chat->Render(request));
    return intake::RenderedChat{std::move(prompt.text), std::move(prompt.given)};
  };
}

// Of a chat form that is built in: no file of the model says that answers end there.
std::vector<int32_t> EndTokensOf(const chat::ChatTemplate* chat,
                                 const tokenizer::Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  if (chat == nullptr) return ids;
  for (const std::string& token : chat->end_tokens()) {
    if (const auto id = tokenizer.TokenId(token)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace

Status CheckOptions(const ServeOptions& options) {
  struct stat info {};
  if (stat(options.model_dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return NotFound("the model '" + options.model_dir + "' is not a folder");
  OCTET_RETURN_IF_ERROR(CheckWithin("--tp", options.ranks, 1, workers::kRanksMax));
  OCTET_RETURN_IF_ERROR(CheckWithin("--max-waiting", options.max_waiting, 1, kMaxWaitingMax));
  OCTET_RETURN_IF_ERROR(
      CheckWithin("max_prompt_bytes", options.max_prompt_bytes, 1, tokenizer::kEncodeBytesMax));
  OCTET_RETURN_IF_ERROR(CheckWithin("max_message_bytes", options.max_message_bytes,
                                    kMessageBytesMin, kMessageBytesMax));
  OCTET_RETURN_IF_ERROR(
      CheckWithin("--stream-interval", options.stream_interval, 1, transport::kStreamIntervalMax));
  OCTET_RETURN_IF_ERROR(CheckSeconds("--grace", options.grace_seconds));
  OCTET_RETURN_IF_ERROR(CheckSeconds("hello_seconds_max", options.hello_seconds_max));
  OCTET_RETURN_IF_ERROR(
      CheckSeconds("--heartbeat-timeout", options.heartbeat_seconds_max, kHeartbeatSecondsMin));
  OCTET_RETURN_IF_ERROR(
      CheckSeconds("--load-stall", options.load_stall_seconds_max, kStallSecondsMin));
  OCTET_RETURN_IF_ERROR(
      CheckSeconds("--step-stall", options.step_stall_seconds_max, kStallSecondsMin));
  return CheckSeconds("self_test_seconds", options.self_test_seconds);
}

Service::Service(const ServeOptions& options) : options_(options) {}

Service::~Service() { Stop(0); }

std::optional<ServiceFailure> Service::Start() {
  if (Status status = CheckOptions(options_); !status.ok()) return ServiceFailure{status, 2};
  auto tokenizer = tokenizer::Tokenizer::Load(options_.model_dir);
  if (!tokenizer.ok()) return ServiceFailure{tokenizer.status(), 2};
  tokenizer_.emplace(std::move(*tokenizer));

  const auto chat = LoadChatTemplate(options_.model_dir);
  chat_end_ids_ = EndTokensOf(chat.get(), *tokenizer_);

  step_loop_ = std::make_unique<engine::StepLoop>(static_cast<engine::PlanSink*>(this),
                                                  options_.self_test_seconds);
  intake_ = std::make_unique<intake::Intake>(
      &*tokenizer_, intake::IntakeLimits{options_.max_waiting, options_.max_prompt_bytes},
      [this](intake::Submission submission) { step_loop_->Submit(std::move(submission)); },
      MakeChatRenderer(chat));

  auto server = transport::GenerationServer::Start(
      {options_.grpc_address, ServedName(options_), static_cast<int>(options_.max_message_bytes),
       options_.stream_interval},
      intake_.get(), {[this](uint64_t id) { Cancel(id); }, [this] { return Stats(); }});
  if (!server.ok()) {
    const bool is_wrong = server.status().code() == StatusCode::kInvalidArgument;
    return ServiceFailure{server.status(), is_wrong ? 2 : 1};
  }
  server_ = std::move(*server);
  if (options_.launcher != workers::kLauncherExternal) {
    if (Status host = workers::CheckHost(options_.ranks, {workers::TemporaryFolder()}); !host.ok())
      return ServiceFailure{host, 2};
  }

  auto supervisor = workers::Supervisor::Open(ToSupervisorOptions(options_), this);
  if (!supervisor.ok()) return ServiceFailure{supervisor.status(), 2};
  supervisor_ = std::move(*supervisor);
  supervised_ = true;
  supervisor_->Launch();
  return std::nullopt;
}

bool Service::WaitReady(double seconds_max) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds_max),
                    [this] { return ready_ || failure_.has_value(); });
  return ready_;
}

bool Service::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

std::optional<ServiceFailure> Service::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Service::Stop(double grace_seconds) {
  std::unique_lock lock(mutex_);
  if (std::exchange(stopping_, true)) return;
  lock.unlock();
  const Status why = Unavailable("the service is shutting down");
  if (server_ != nullptr) {
    serving_ = false;
    server_->EndServing();
    intake_->Close(why);
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(grace_seconds);
    lock.lock();
    while (intake_->live_sequences() > 0 && !hurrying_ && std::chrono::steady_clock::now() < until)
      changed_.wait_for(lock, kDrainPollInterval);
    lock.unlock();
    step_loop_->FailAll(why);
    server_->Stop(kFlushSecondsMax);
  }
  if (supervisor_ != nullptr) supervisor_->Stop();
}

void Service::Hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurrying_ = true;
  }
  changed_.notify_all();
  if (supervisor_ != nullptr) supervisor_->Hurry();
}

// Wherever the request is just now: before the step loop, on the way to it, or in it.
void Service::Cancel(uint64_t id) {
  intake_->Withdraw(id);
  step_loop_->Cancel(id);
}

transport::ServiceStats Service::Stats() const {
  transport::ServiceStats stats;
  stats.serving = serving_;
  stats.uptime_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  stats.kv_blocks = kv_blocks_;
  stats.loop = step_loop_->stats();
  stats.loop.requests_cancelled += intake_->cancelled();
  if (supervised_) stats.group = supervisor_->stats();
  return stats;
}

// REQUIRES: mutex_ is held.
void Service::SetHealth(uint64_t working_group, bool responsive) {
  working_group_ = working_group;
  responsive_ = responsive;
  const bool serving = working_group != 0 && responsive && !stopping_;
  if (serving_.exchange(serving) != serving) server_->SetServing(serving);
}

void Service::OnGroupReady(uint64_t epoch, const workers::GroupInfo& info) {
  server_->SetModel(info);
  kv_blocks_ = info.kv_blocks;
  std::vector<int32_t> end_ids = info.eos_ids;
  for (const int32_t id : chat_end_ids_) {
    const bool is_new = std::find(end_ids.begin(), end_ids.end(), id) == end_ids.end();
    if (is_new && id < info.vocab) end_ids.push_back(id);
  }
  const std::lock_guard lock(mutex_);
  epoch_ = epoch;
  // The loop hears of the group before it hears of a request.
  step_loop_->GroupReady(epoch, ToSchedulerLimits(info, options_.max_waiting));
  if (!stopping_) intake_->Open({info.vocab, info.context, info.slots, end_ids});
}

void Service::OnGroupWorks(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (stopping_ || epoch != epoch_) return;
  SetHealth(epoch, true);
  if (std::exchange(ready_, true)) return;
  changed_.notify_all();
  if (on_change) on_change();
}

void Service::OnGroupResponsive(uint64_t epoch, bool responsive) {
  const std::lock_guard lock(mutex_);
  if (working_group_ == epoch) SetHealth(epoch, responsive);
  Log(LogLevel::kWarning, responsive ? "the workers answer again" : "the workers do not answer");
}

void Service::OnStepResult(uint64_t epoch, const v1::StepResult& result) {
  step_loop_->StepDone({epoch, workers::ToValue(result)});
}

void Service::OnGroupLost(uint64_t epoch, const Status& cause) {
  {
    const std::lock_guard lock(mutex_);
    epoch_ = 0;
    SetHealth(0, false);
    if (!stopping_)  // else a reason that stays has been given
      intake_->Close(Unavailable("the workers are starting again: " + cause.message()));
  }
  step_loop_->GroupLost(epoch);
}

void Service::OnGiveUp(const workers::GroupLoss& loss) {
  const Status why = Unavailable("the workers are gone: " + loss.cause.message());
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) intake_->Close(why);
  }
  step_loop_->FailAll(why);
  const std::lock_guard lock(mutex_);
  SetHealth(0, false);
  failure_ = {loss.cause, loss.configuration ? 2 : 1};
  changed_.notify_all();
  if (on_change) on_change();
}

void Service::SendPlan(uint64_t epoch, const schedule::StepPlan& plan) {
  supervisor_->SendPlan(epoch, plan);
}

// There is no server where the start failed.
void Service::OnTurnBegin() {
  if (server_ != nullptr) server_->HoldStreams();
}

void Service::OnTurnEnd() {
  if (server_ != nullptr) server_->ReleaseStreams();
}

void Service::Condemn(uint64_t epoch, const Status& why) { supervisor_->Condemn(epoch, why); }

}  // namespace octet::coordinator
