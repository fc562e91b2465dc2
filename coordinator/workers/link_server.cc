#include "coordinator/workers/link_server.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "coordinator/rpc/completion_loop.h"
#include "octet/v1/worker_link.grpc.pb.h"

namespace octet::workers {

using AsyncLink = v1::WorkerLink::WithAsyncMethod_Connect<v1::WorkerLink::Service>;

class LinkServer::Service final : public AsyncLink {
 public:
  explicit Service(LinkListener* listener) : listener_(listener) {}

  bool Listen(const std::string& address);
  void Stop();
  void Send(uint64_t number, v1::CoordinatorMessage message);
  void Close(uint64_t number, const grpc::Status& status);

 private:
  class Stream;
  void AwaitStream();
  void Forget(uint64_t number);

  LinkListener* const listener_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable all_ended_;
  uint64_t streams_seen_ = 0;
  std::unordered_map<uint64_t, Stream*> streams_;  // each owned by itself until its end
  std::optional<rpc::CompletionLoop> loop_;
};

// From before there is a connection. The thread of the loop alone calls what is private.
class LinkServer::Service::Stream final {
 public:
  Stream(Service* service, uint64_t number) : service_(service), number_(number) {
    context_.AsyncNotifyWhenDone(Tag(&over_));
    grpc::ServerCompletionQueue* const queue = service->loop_->queue();
    service->RequestConnect(&context_, &stream_, queue, queue, Tag(&arrived_));
  }

  void Send(v1::CoordinatorMessage message) {
    const std::lock_guard lock(mutex_);
    if (!arrived_ok_ || closing_.has_value()) return;
    outgoing_.push_back(std::move(message));
    Advance();
  }

  void Close(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (!arrived_ok_ || closing_.has_value()) return;
    closing_ = status;
    Advance();
  }

 private:
  static void* Tag(rpc::Completion* completion) { return completion; }

  void OnArrived(bool ok) {
    if (!ok) return End();  // the server ends; nothing else is told then
    service_->AwaitStream();
    {
      const std::lock_guard lock(mutex_);
      arrived_ok_ = true;
      under_way_ = 2;  // reading, being over
    }
    stream_.Read(&incoming_, Tag(&read_));
  }

  void OnRead(bool ok) {
    if (ok) {
      service_->listener_->OnMessage(number_, incoming_);
      return stream_.Read(&incoming_, Tag(&read_));
    }
    Close(grpc::Status::OK);
    Done();
  }

  void OnWritten(bool ok) {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      outgoing_.pop_front();
      if (!ok) outgoing_.clear();  // the rank is gone; the read says so too
      Advance();
    }
    Done();
  }

  void OnFinished(bool) { Done(); }

  void OnOver(bool) {
    if (context_.IsCancelled()) Close(grpc::Status::CANCELLED);
    Done();
  }

  // REQUIRES: mutex_ is held.
  void Advance() {
    if (writing_ || finished_) return;
    if (!outgoing_.empty()) {
      writing_ = true;
      ++under_way_;
      stream_.Write(outgoing_.front(), Tag(&written_));
    } else if (closing_.has_value()) {
      finished_ = true;
      ++under_way_;
      stream_.Finish(*closing_, Tag(&finish_));
    }
  }

  // An operation is. Over is told only after Finish, or when the rank is gone: then Finish follows.
  void Done() {
    {
      const std::lock_guard lock(mutex_);
      if (--under_way_ > 0) return;
    }
    service_->listener_->OnStreamEnd(number_);
    End();
  }

  void End() {
    service_->Forget(number_);
    delete this;
  }

  Service* const service_;
  const uint64_t number_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<v1::CoordinatorMessage, v1::RankMessage> stream_{&context_};
  rpc::CompletionOf<Stream, &Stream::OnArrived> arrived_{this};
  rpc::CompletionOf<Stream, &Stream::OnRead> read_{this};
  rpc::CompletionOf<Stream, &Stream::OnWritten> written_{this};
  rpc::CompletionOf<Stream, &Stream::OnFinished> finish_{this};
  rpc::CompletionOf<Stream, &Stream::OnOver> over_{this};
  v1::RankMessage incoming_;

  std::mutex mutex_;
  std::deque<v1::CoordinatorMessage> outgoing_;  // the first is being written when writing_
  int under_way_ = 0;                            // operations
  bool arrived_ok_ = false;
  bool writing_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> closing_;
};

bool LinkServer::Service::Listen(const std::string& address) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kLinkMessageBytesMax);
  builder.SetMaxSendMessageSize(kLinkMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return false;
  loop_.emplace("octet-link", std::move(queue), [] {});
  AwaitStream();
  return true;
}

void LinkServer::Service::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());  // cancels what is open
  {
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [this] { return streams_.empty(); });
  }
  loop_.reset();
  server_->Wait();
}

void LinkServer::Service::AwaitStream() {
  const std::lock_guard lock(mutex_);
  const uint64_t number = ++streams_seen_;
  streams_[number] = new Stream(this, number);
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
