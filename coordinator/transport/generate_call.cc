#include "coordinator/transport/generate_call.h"

#include <google/protobuf/arena.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <utility>

#include "base/check.h"
#include "coordinator/transport/messages.h"

namespace octet::transport {
namespace {

// As the queue gives it back.
void* Tag(rpc::Completion* completion) { return completion; }

}  // namespace

GenerateCall::GenerateCall(GenerateStreams* streams) : streams_(streams) {
  context_.AsyncNotifyWhenDone(Tag(&over_));
  grpc::ServerCompletionQueue* const queue = streams->queue();
  streams->service_->RequestGenerate(&context_, &request_, &writer_, queue, queue, Tag(&arrived_));
}

void GenerateCall::OnArrived(bool ok) {
  if (!ok) {  // the server ends; what is over then is not told
    is_finished_ = is_over_ = true;
    return DeleteIfOver();
  }
  streams_->AwaitCall();
  Submit();
}

Result<intake::Request> GenerateCall::ReadRequest() {
  // Of millions of small parts one by one would be allocated, and this thread serves all clients.
  google::protobuf::Arena arena;
  auto* const message = google::protobuf::Arena::CreateMessage<v1::GenerateRequest>(&arena);
  const grpc::Status read =
      grpc::SerializationTraits<v1::GenerateRequest>::Deserialize(&request_, message);
  request_.Clear();
  if (read.ok()) return ToRequest(*message);
  return InvalidArgument(
      "the message can not be read as octet.v1.GenerateRequest: it is damaged, or a text in it is "
      "not UTF-8");
}

void GenerateCall::Submit() {
  Result<intake::Request> read = ReadRequest();
  if (!read.ok()) return writer_.Finish(ToGrpc(read.status()), Tag(&finished_));
  intake::Request request = std::move(*read);
  prompt_due_ = request.echo || request.prompt_logprobs.has_value();
  const int32_t samples = request.n.value_or(1);
  if (samples >= 1 && samples <= intake::kSamplesMax)  // else intake refuses it
    samples_.resize(static_cast<size_t>(samples));
  const Result<uint64_t> id = streams_->intake_->Submit(std::move(request), this);
  if (id.ok())
    id_ = *id;
  else
    writer_.Finish(ToGrpc(id.status()), Tag(&finished_));
}

void GenerateCall::OnAccepted(const intake::AcceptedAnswer& accepted) {
  const std::lock_guard lock(mutex_);
  SetAccepted(accepted, first_.emplace_back().mutable_accepted());
  Wake();
}

void GenerateCall::OnPrompt(const intake::PromptPiece& piece) {
  const std::lock_guard lock(mutex_);
  if (first_.empty() || !first_.back().has_prompt() ||
      first_.back().prompt().token_ids_size() >= kMessageTokensMax)
    first_.emplace_back();
  Append(piece, first_.back().mutable_prompt());
  if (piece.is_last) prompt_due_ = false;
  Wake();
}

void GenerateCall::OnChunk(const intake::AnswerChunk& chunk) {
  const std::lock_guard lock(mutex_);
  Messages& messages = samples_[static_cast<size_t>(chunk.sample)];
  if (messages.empty() || messages.back().chunk().token_ids_size() >= kMessageTokensMax)
    messages.emplace_back();
  Append(chunk, messages.back().mutable_chunk());
  if (IsDue(messages)) Wake();
}

void GenerateCall::OnSampleEnd(const intake::SampleEnd& end) {
  const std::lock_guard lock(mutex_);
  Messages& messages = samples_[static_cast<size_t>(end.sample)];
  SetComplete(end, messages.emplace_back().mutable_complete());
  Wake();
}

void GenerateCall::OnEnd(const Status& status) {
  const std::lock_guard lock(mutex_);
  status_ = ToGrpc(status);
  Wake();
}

// REQUIRES: mutex_ is held. While a write is under way its end goes on.
void GenerateCall::Wake() {
  if (woken_ || writing_) return;
  woken_ = true;
  streams_->Wake(this);
}

void GenerateCall::OnWritten(bool ok) {
  if (!ok) client_gone_ = true;
  std::unique_lock lock(mutex_);
  writing_ = false;
  WriteNext(std::move(lock));
}

void GenerateCall::OnFinished(bool) {
  is_finished_ = true;
  DeleteIfOver();
}

void GenerateCall::OnOver(bool) {
  if (context_.IsCancelled()) {
    cancel_requested = true;
    if (id_ != 0) streams_->cancel_(id_);
  }
  is_over_ = true;
  DeleteIfOver();
}

void GenerateCall::DeleteIfOver() {
  if (!is_finished_ || !is_over_) return;
  GenerateStreams* const streams = streams_;
  delete this;
  streams->Forget();
}

// Whether the first message of a sample is to be sent: all are but chunks that may still grow by
// the interval, and such as bring the first token. REQUIRES: mutex_ is held.
bool GenerateCall::IsDue(const Messages& messages) const {
  if (messages.empty()) return false;
  if (messages.size() > 1 || status_.has_value() || !messages.front().has_chunk()) return true;
  const v1::GenerateResponse::Chunk& chunk = messages.front().chunk();
  return chunk.first_position() == 0 || chunk.token_ids_size() >= streams_->interval_;
}

// Where the next message is, or null. REQUIRES: mutex_ is held.
GenerateCall::Messages* GenerateCall::NextMessages() {
  if (!first_.empty()) return &first_;
  if (prompt_due_) return nullptr;
  for (size_t i = 0; i < samples_.size(); ++i) {
    turn_ = (turn_ + 1) % samples_.size();
    if (IsDue(samples_[turn_])) return &samples_[turn_];
  }
  return nullptr;
}

void GenerateCall::Advance() {
  std::unique_lock lock(mutex_);
  woken_ = false;
  WriteNext(std::move(lock));
}

// One write at a time; when all is said, the end. REQUIRES: no write is under way, `lock` is that
// of mutex_.
void GenerateCall::WriteNext(std::unique_lock<std::mutex> lock) {
  Messages* const messages = client_gone_ ? nullptr : NextMessages();
  if (messages == nullptr && !status_.has_value()) return;
  writing_ = true;
  if (messages == nullptr) return writer_.Finish(*status_, Tag(&finished_));
  const v1::GenerateResponse message = std::move(messages->front());
  messages->pop_front();
  lock.unlock();
  grpc::ByteBuffer bytes;
  bool is_ours = false;
  OCTET_CHECK(
      grpc::SerializationTraits<v1::GenerateResponse>::Serialize(message, &bytes, &is_ours).ok());
  writer_.Write(bytes, Tag(&written_));
}

}  // namespace octet::transport
