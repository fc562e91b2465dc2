#include "coordinator/transport/health.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include "coordinator/rpc/completion_loop.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::transport {

// One Check, from before there is a call until gRPC is done with it. Under the mutex of its Health.
class Health::CheckCall final {
 public:
  // REQUIRES: the mutex is held.
  explicit CheckCall(Health* health) : health_(health) {
    health->RequestCheck(&context_, &request_, &writer_, health->queue_, health->queue_,
                         static_cast<rpc::Completion*>(&arrived_));
  }

 private:
  void OnArrived(bool ok) {
    const std::lock_guard lock(health_->mutex_);
    if (!ok) return End();  // the server ends
    health_->AwaitCheck();
    Response response;
    response.set_status(health_->StatusOf(request_.service()));
    void* const tag = static_cast<rpc::Completion*>(&finished_);
    if (response.status() == Response::SERVICE_UNKNOWN) {
      writer_.FinishWithError({grpc::StatusCode::NOT_FOUND, "there is no service of that name"},
                              tag);
    } else {
      writer_.Finish(response, grpc::Status::OK, tag);
    }
  }
  void OnFinished(bool) {
    const std::lock_guard lock(health_->mutex_);
    End();
  }
  void End() {
    --health_->checks_;
    health_->TellIfOver();
    delete this;
  }

  Health* const health_;
  grpc::ServerContext context_;
  grpc::health::v1::HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<Response> writer_{&context_};
  rpc::CompletionOf<CheckCall, &CheckCall::OnArrived> arrived_{this};
  rpc::CompletionOf<CheckCall, &CheckCall::OnFinished> finished_{this};
};

// One Watch, from before there is a call until gRPC is done with it. Under the mutex of its Health.
class Health::WatchCall final {
 public:
  // REQUIRES: the mutex is held, here and in Advance.
  explicit WatchCall(Health* health) : health_(health) {
    context_.AsyncNotifyWhenDone(Tag(&over_));
    health->RequestWatch(&context_, &request_, &writer_, health->queue_, health->queue_,
                         Tag(&arrived_));
  }

  // Tells what was not told yet; one write at a time.
  void Advance() {
    if (!is_open_ || writing_) return;
    const Response::ServingStatus status = health_->StatusOf(request_.service());
    if (!gone_ && status != told_) {
      writing_ = true;
      told_ = status;
      Response response;
      response.set_status(status);
      writer_.Write(response, Tag(&written_));
    } else if (gone_ || health_->watches_end_) {
      is_open_ = false;
      writer_.Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the service is shutting down"),
                     Tag(&finished_));
    }
  }

 private:
  static void* Tag(rpc::Completion* completion) { return completion; }

  void OnArrived(bool ok) {
    const std::lock_guard lock(health_->mutex_);
    if (!ok) {  // the server ends; nothing else is told then
      is_finished_ = is_over_ = true;
      return DeleteIfOver();
    }
    health_->AwaitWatch();
    is_open_ = true;
    Advance();
  }
  void OnWritten(bool ok) {
    const std::lock_guard lock(health_->mutex_);
    writing_ = false;
    if (!ok) gone_ = true;
    Advance();
  }
  void OnFinished(bool) {
    const std::lock_guard lock(health_->mutex_);
    is_finished_ = true;
    DeleteIfOver();
  }
  void OnOver(bool) {
    const std::lock_guard lock(health_->mutex_);
    is_over_ = gone_ = true;
    Advance();
    DeleteIfOver();
  }

  void DeleteIfOver() {
    if (!is_finished_ || !is_over_) return;
    health_->watches_.erase(this);
    health_->TellIfOver();
    delete this;
  }

  Health* const health_;
  grpc::ServerContext context_;
  grpc::health::v1::HealthCheckRequest request_;
  grpc::ServerAsyncWriter<Response> writer_{&context_};
  rpc::CompletionOf<WatchCall, &WatchCall::OnArrived> arrived_{this};
  rpc::CompletionOf<WatchCall, &WatchCall::OnWritten> written_{this};
  rpc::CompletionOf<WatchCall, &WatchCall::OnFinished> finished_{this};
  rpc::CompletionOf<WatchCall, &WatchCall::OnOver> over_{this};
  Response::ServingStatus told_ = Response::UNKNOWN;
  bool is_open_ = false;  // there is a call, and its status was not told
  bool writing_ = false;
  bool gone_ = false;
  bool is_finished_ = false;
  bool is_over_ = false;
};

void Health::Start(grpc::ServerCompletionQueue* queue) {
  const std::lock_guard lock(mutex_);
  queue_ = queue;
  AwaitCheck();
  AwaitWatch();
}

void Health::AwaitCheck() {
  ++checks_;
  new CheckCall(this);
}

void Health::AwaitWatch() { watches_.insert(new WatchCall(this)); }

void Health::SetServing(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving;
  Tell();
}

void Health::EndServing() {
  const std::lock_guard lock(mutex_);
  serving_ended_ = true;
  Tell();
}

void Health::EndWatches() {
  const std::lock_guard lock(mutex_);
  watches_end_ = true;
  Tell();
}

void Health::AwaitEnd() {
  std::unique_lock lock(mutex_);
  all_over_.wait(lock, [this] { return watches_.empty() && checks_ == 0; });
}

void Health::TellIfOver() {
  if (watches_.empty() && checks_ == 0) all_over_.notify_all();
}

void Health::Tell() {
  for (WatchCall* watch : watches_) watch->Advance();
}

Health::Response::ServingStatus Health::StatusOf(const std::string& service) const {
  if (!service.empty() && service != v1::Generation::service_full_name())
    return Response::SERVICE_UNKNOWN;
  return serving_ && !serving_ended_ ? Response::SERVING : Response::NOT_SERVING;
}

}  // namespace octet::transport
