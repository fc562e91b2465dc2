#include "coordinator/transport/generation_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/transport/generate_call.h"
#include "coordinator/transport/listen_address.h"
#include "coordinator/transport/messages.h"
#include "coordinator/transport/stream_writer.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::transport {
namespace {

// Long answers are silent while they wait or while a long prompt is computed: clients may ping to
// keep their way open, and we find half-open connections ourselves.
constexpr int kClientPingIntervalMsMin = 10'000;
constexpr int kKeepaliveIntervalMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kStreamsPerConnectionMax = 1024;

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

class GenerationServer::Service final : public v1::Generation::CallbackService {
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
  grpc::HealthCheckServiceInterface* health() { return server_->GetHealthCheckService(); }

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext*, const v1::GenerateRequest* request) override {
    return new GenerateCall(*request, intake_, &calls_.cancel, &writer_);
  }
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::CancelRequest* request,
                                   v1::CancelResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const v1::GetStatsRequest* request,
                                     v1::GetStatsResponse* response) override;

 private:
  const GenerationServerOptions options_;
  intake::Intake* const intake_;
  const GenerationServerCalls calls_;
  int port_ = 0;
  std::mutex mutex_;
  std::optional<v1::GetModelResponse> model_;
  StreamWriter writer_;  // ends after the server, and with it every call, is gone
  std::unique_ptr<grpc::Server> server_;
};

Status GenerationServer::Service::Listen() {
  OCTET_RETURN_IF_ERROR(CheckListenAddress(options_.address));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetConnectionArguments(&builder);
  builder.SetMaxReceiveMessageSize(options_.message_bytes_max);
  builder.AddListeningPort(options_.address, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  const bool is_unix = options_.address.rfind("unix:", 0) == 0;
  if (server_ == nullptr || (port_ == 0 && !is_unix)) return ExplainListenFailure(options_.address);
  if (is_unix) port_ = 0;
  health()->SetServingStatus(v1::Generation::service_full_name(), false);
  health()->SetServingStatus(false);
  return {};
}

void GenerationServer::Service::Stop(double seconds_max) {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(static_cast<int64_t>(seconds_max * 1000)));
  server_->Wait();
  server_ = nullptr;
}

grpc::ServerUnaryReactor* GenerationServer::Service::Cancel(grpc::CallbackServerContext* context,
                                                            const v1::CancelRequest* request,
                                                            v1::CancelResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::vector<uint64_t> ids = intake_->RequestCancel(request->request_id());
  for (const uint64_t id : ids) calls_.cancel(id);
  response->set_requests(static_cast<int32_t>(ids.size()));
  reactor->Finish(ids.empty() ? ToGrpc(NotFound("no live request has the request_id " +
                                                tokenizer::Quoted(request->request_id())))
                              : grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* GenerationServer::Service::Tokenize(grpc::CallbackServerContext* context,
                                                              const v1::TokenizeRequest* request,
                                                              v1::TokenizeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const intake::Prompt prompt = ToPrompt(*request);
  if (Status fits = intake::CheckPromptSize(prompt, intake_->limits()); !fits.ok()) {
    reactor->Finish(ToGrpc(fits));
    return reactor;
  }
  const auto tokens =
      intake_->Encode(prompt, !request->has_add_special_tokens() || request->add_special_tokens(),
                      !request->has_parse_special_tokens() || request->parse_special_tokens());
  if (tokens.ok()) response->mutable_token_ids()->Add(tokens->begin(), tokens->end());
  reactor->Finish(ToGrpc(tokens.status()));
  return reactor;
}

grpc::ServerUnaryReactor* GenerationServer::Service::Detokenize(
    grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
    v1::DetokenizeResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (request->token_ids_size() > kDetokenizeIdsMax) {
    reactor->Finish(
        ToGrpc(InvalidArgument("token_ids has " + std::to_string(request->token_ids_size()) +
                               " entries; the limit is " + std::to_string(kDetokenizeIdsMax))));
    return reactor;
  }
  const std::vector<int32_t> ids(request->token_ids().begin(), request->token_ids().end());
  response->set_text(intake_->tokenizer().Decode(ids, request->skip_special_tokens()));
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* GenerationServer::Service::GetModel(grpc::CallbackServerContext* context,
                                                              const v1::GetModelRequest*,
                                                              v1::GetModelResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::lock_guard lock(mutex_);
  if (model_.has_value()) *response = *model_;
  reactor->Finish(model_.has_value() ? grpc::Status::OK
                                     : ToGrpc(Unavailable("the workers are starting")));
  return reactor;
}

grpc::ServerUnaryReactor* GenerationServer::Service::GetStats(grpc::CallbackServerContext* context,
                                                              const v1::GetStatsRequest*,
                                                              v1::GetStatsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  *response = ToMessage(calls_.stats());
  reactor->Finish(grpc::Status::OK);
  return reactor;
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
void GenerationServer::SetServing(bool serving) {
  service_->health()->SetServingStatus(v1::Generation::service_full_name(), serving);
  service_->health()->SetServingStatus("", serving);
}
void GenerationServer::EndServing() { service_->health()->Shutdown(); }
void GenerationServer::Stop(double seconds_max) { service_->Stop(seconds_max); }

}  // namespace octet::transport
