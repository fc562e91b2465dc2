#include "coordinator/workers/link_server.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "octet/v1/worker_link.grpc.pb.h"

namespace octet::workers {

class LinkServer::Service final : public v1::WorkerLink::CallbackService {
 public:
  explicit Service(LinkListener* listener) : listener_(listener) {}

  bool Listen(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kLinkMessageBytesMax);
    builder.SetMaxSendMessageSize(kLinkMessageBytesMax);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    return server_ != nullptr;
  }

  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());  // cancels what is open
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return streams_.empty(); });
    lock.unlock();
    server_->Wait();
  }

  grpc::ServerBidiReactor<v1::RankMessage, v1::CoordinatorMessage>* Connect(
      grpc::CallbackServerContext*) override;

  void Send(uint64_t number, v1::CoordinatorMessage message);
  void Close(uint64_t number, const grpc::Status& status);

 private:
  class Stream;
  void Forget(uint64_t number);

  LinkListener* const listener_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable all_ended_;
  uint64_t streams_seen_ = 0;
  std::unordered_map<uint64_t, Stream*> streams_;  // each owned by itself, until OnDone
};

class LinkServer::Service::Stream final
    : public grpc::ServerBidiReactor<v1::RankMessage, v1::CoordinatorMessage> {
 public:
  Stream(Service* service, uint64_t number) : service_(service), number_(number) {
    StartRead(&incoming_);
  }

  void Send(v1::CoordinatorMessage message) {
    const std::lock_guard lock(mutex_);
    if (closing_.has_value()) return;
    outgoing_.push_back(std::move(message));
    Advance();
  }

  void Close(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (closing_.has_value()) return;
    closing_ = status;
    Advance();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Close(grpc::Status::OK);
    service_->listener_->OnMessage(number_, incoming_);
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();  // the rank is gone; the read says so too
    Advance();
  }

  void OnCancel() override { Close(grpc::Status::CANCELLED); }

  void OnDone() override {
    service_->listener_->OnStreamEnd(number_);
    service_->Forget(number_);
    delete this;
  }

 private:
  // REQUIRES: mutex_ is held.
  void Advance() {
    if (writing_ || finished_) return;
    if (!outgoing_.empty()) {
      writing_ = true;
      StartWrite(&outgoing_.front());
    } else if (closing_.has_value()) {
      finished_ = true;
      Finish(*closing_);
    }
  }

  Service* const service_;
  const uint64_t number_;
  v1::RankMessage incoming_;

  std::mutex mutex_;
  std::deque<v1::CoordinatorMessage> outgoing_;  // the first is being written when writing_
  bool writing_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> closing_;
};

grpc::ServerBidiReactor<v1::RankMessage, v1::CoordinatorMessage>* LinkServer::Service::Connect(
    grpc::CallbackServerContext*) {
  const std::lock_guard lock(mutex_);
  const uint64_t number = ++streams_seen_;
  return streams_[number] = new Stream(this, number);
}

void LinkServer::Service::Send(uint64_t number, v1::CoordinatorMessage message) {
  const std::lock_guard lock(mutex_);
  if (const auto found = streams_.find(number); found != streams_.end())
    found->second->Send(std::move(message));
}

void LinkServer::Service::Close(uint64_t number, const grpc::Status& status) {
  const std::lock_guard lock(mutex_);
  if (const auto found = streams_.find(number); found != streams_.end())
    found->second->Close(status);
}

void LinkServer::Service::Forget(uint64_t number) {
  const std::lock_guard lock(mutex_);
  streams_.erase(number);
  if (streams_.empty()) all_ended_.notify_all();
}

LinkServer::LinkServer() = default;

Result<std::unique_ptr<LinkServer>> LinkServer::Start(const std::string& address,
                                                      LinkListener* listener) {
  std::unique_ptr<LinkServer> server(new LinkServer);
  server->service_ = std::make_unique<Service>(listener);
  if (!server->service_->Listen(address))
    return Unavailable("the workers' address " + address + " can not be listened on");
  return server;
}

LinkServer::~LinkServer() { service_->Stop(); }

void LinkServer::Send(uint64_t stream, v1::CoordinatorMessage message) {
  service_->Send(stream, std::move(message));
}

void LinkServer::Close(uint64_t stream, const Status& status) {
  service_->Close(stream,
                  grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message()));
}

}  // namespace octet::workers
