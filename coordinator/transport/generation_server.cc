#include "coordinator/transport/generation_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/transport/generate_streams.h"
#include "coordinator/transport/health.h"
#include "coordinator/transport/listen_address.h"
#include "coordinator/transport/messages.h"
#include "coordinator/transport/text_turns.h"

namespace octet::transport {
namespace {

// Long answers are silent while they wait or while a long prompt is computed: clients may ping to
// keep their way open, and we find half-open connections ourselves.
constexpr int kClientPingIntervalMsMin = 10'000;
constexpr int kKeepaliveIntervalMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kStreamsPerConnectionMax = 1024;
// Of the calls that are no streams, each of which has one while it lasts; more are refused.
constexpr int kThreadsMax = 128;

void SetConnectionArguments(grpc::ServerBuilder* builder) {
  // Without this a second server may share the port, and clients would reach either.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kClientPingIntervalMsMin);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
}

}  // namespace

class GenerationServer::Service final : public GenerationService {
 public:
  Service(GenerationServerOptions options, intake::Intake* intake, GenerationServerCalls calls)
      : options_(std::move(options)), intake_(intake), calls_(std::move(calls)) {}

  Status Listen();
  void Stop(double seconds_max);
  int port() const { return port_; }
  void SetModel(const workers::GroupInfo& info) {
    const std::lock_guard lock(mutex_);
    model_ = ToMessage(info, options_.served_name);
  }
  // Of the model or, while there is none, of the tokenizer.
  int64_t VocabSize() const {
    const std::lock_guard lock(mutex_);
    const int64_t of_tokenizer = intake_->tokenizer().vocab_size();
    return model_.has_value() ? std::max(of_tokenizer, model_->vocab_size()) : of_tokenizer;
  }
  Health* health() { return &health_; }
  GenerateStreams* streams() { return streams_.get(); }

  grpc::Status Cancel(grpc::ServerContext*, const v1::CancelRequest* request,
                      v1::CancelResponse* response) override;
  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override;
  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status GetStats(grpc::ServerContext*, const v1::GetStatsRequest* request,
                        v1::GetStatsResponse* response) override;

 private:
  // Works on a text in its turn, if its client is still there then.
  grpc::Status InTurn(const grpc::ServerContext& context, const std::function<Status()>& work) {
    return ToGrpc(text_turns_.Do([&] {
      return context.IsCancelled() ? Status(StatusCode::kCancelled, "the client went away")
                                   : work();
    }));
  }

  const GenerationServerOptions options_;
  intake::Intake* const intake_;
  const GenerationServerCalls calls_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::optional<v1::GetModelResponse> model_;
  TextTurns text_turns_;
  Health health_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<GenerateStreams> streams_;  // and who drains the queue of the watches
  bool stopped_ = false;
};

Status GenerationServer::Service::Listen() {
  OCTET_RETURN_IF_ERROR(CheckListenAddress(options_.address));
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota;
  quota.SetMaxThreads(kThreadsMax);
  builder.SetResourceQuota(quota);
  SetConnectionArguments(&builder);
  builder.SetMaxReceiveMessageSize(options_.message_bytes_max);
  builder.AddListeningPort(options_.address, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  builder.RegisterService(&health_);
  std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  const bool is_unix = options_.address.rfind("unix:", 0) == 0;
  if (server_ == nullptr) return ExplainListenFailure(options_.address);
  streams_ = std::make_unique<GenerateStreams>(this, std::move(queue), intake_, calls_.cancel,
                                               options_.stream_interval, options_.unread_bytes_max);
  health_.Start(streams_->queue());
  if (port_ == 0 && !is_unix) return ExplainListenFailure(options_.address);
  if (is_unix) port_ = 0;
  return {};
}

void GenerationServer::Service::Stop(double seconds_max) {
  if (streams_ == nullptr || std::exchange(stopped_, true)) return;
  health_.EndWatches();
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(static_cast<int64_t>(seconds_max * 1000)));
  health_.AwaitEnd();
  streams_->AwaitEnd();
  server_->Wait();
}

grpc::Status GenerationServer::Service::Cancel(grpc::ServerContext*,
                                               const v1::CancelRequest* request,
                                               v1::CancelResponse* response) {
  const std::vector<uint64_t> ids = intake_->RequestCancel(request->request_id());
  for (const uint64_t id : ids) calls_.cancel(id);
  response->set_requests(static_cast<int32_t>(ids.size()));
  if (!ids.empty()) return grpc::Status::OK;
  return ToGrpc(
      NotFound("no live request has the request_id " + tokenizer::Quoted(request->request_id())));
}

grpc::Status GenerationServer::Service::Tokenize(grpc::ServerContext* context,
                                                 const v1::TokenizeRequest* request,
                                                 v1::TokenizeResponse* response) {
  const intake::Prompt prompt = ToPrompt(*request);
  if (Status fits = intake::CheckPromptSize(prompt, intake_->limits()); !fits.ok())
    return ToGrpc(fits);
  return InTurn(*context, [&]() -> Status {
    const auto tokens =
        intake_->Encode(prompt, !request->has_add_special_tokens() || request->add_special_tokens(),
                        !request->has_parse_special_tokens() || request->parse_special_tokens());
    if (tokens.ok()) response->mutable_token_ids()->Add(tokens->begin(), tokens->end());
    return tokens.status();
  });
}

grpc::Status GenerationServer::Service::Detokenize(grpc::ServerContext* context,
                                                   const v1::DetokenizeRequest* request,
                                                   v1::DetokenizeResponse* response) {
  if (request->token_ids_size() > kDetokenizeIdsMax)
    return ToGrpc(InvalidArgument("token_ids has " + std::to_string(request->token_ids_size()) +
                                  " entries; the limit is " + std::to_string(kDetokenizeIdsMax)));
  const std::vector<int32_t> ids(request->token_ids().begin(), request->token_ids().end());
  const int64_t vocab = VocabSize();
  const auto unknown =
      std::find_if(ids.begin(), ids.end(), [vocab](int32_t id) { return id < 0 || id >= vocab; });
  if (unknown != ids.end())
    return ToGrpc(InvalidArgument("token_ids has " + std::to_string(*unknown) +
                                  "; ids go from 0 to " + std::to_string(vocab - 1)));
  return InTurn(*context, [&]() -> Status {
    response->set_text(intake_->tokenizer().Decode(ids, request->skip_special_tokens()));
    return {};
  });
}

grpc::Status GenerationServer::Service::GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                                                 v1::GetModelResponse* response) {
  const std::lock_guard lock(mutex_);
  if (!model_.has_value()) return ToGrpc(Unavailable("the workers are starting"));
  *response = *model_;
  return grpc::Status::OK;
}

grpc::Status GenerationServer::Service::GetStats(grpc::ServerContext*, const v1::GetStatsRequest*,
                                                 v1::GetStatsResponse* response) {
  *response = ToMessage(calls_.stats());
  return grpc::Status::OK;
}

GenerationServer::GenerationServer() = default;

Result<std::unique_ptr<GenerationServer>> GenerationServer::Start(
    const GenerationServerOptions& options, intake::Intake* intake, GenerationServerCalls calls) {
  std::unique_ptr<GenerationServer> server(new GenerationServer);
  server->service_ = std::make_unique<Service>(options, intake, std::move(calls));
  OCTET_RETURN_IF_ERROR(server->service_->Listen());
  return server;
}

GenerationServer::~GenerationServer() { Stop(0); }

int GenerationServer::port() const { return service_->port(); }
void GenerationServer::SetModel(const workers::GroupInfo& info) { service_->SetModel(info); }
void GenerationServer::SetServing(bool serving) { service_->health()->SetServing(serving); }
void GenerationServer::EndServing() { service_->health()->EndServing(); }
void GenerationServer::HoldStreams() { service_->streams()->Hold(); }
void GenerationServer::ReleaseStreams() { service_->streams()->Release(); }
void GenerationServer::Stop(double seconds_max) { service_->Stop(seconds_max); }

}  // namespace octet::transport
