#include "coordinator/transport/generate_call.h"

#include <google/protobuf/arena.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
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
  if (dropped_) return;
  SetAccepted(accepted, first_.emplace_back().response.mutable_accepted());
  Wake();
}

void GenerateCall::OnPrompt(const intake::PromptPiece& piece) {
  const std::lock_guard lock(mutex_);
  if (dropped_) return;
  const auto count = static_cast<int64_t>(piece.tokens.size());
  for (int64_t begin = 0; begin < count;) {
    const bool has_room = !first_.empty() && first_.back().response.has_prompt() &&
                          first_.back().response.prompt().token_ids_size() < kMessageTokensMax;
    Message& message = has_room ? first_.back() : first_.emplace_back();
    v1::GenerateResponse::Prompt* const prompt = message.response.mutable_prompt();
    const int64_t end = std::min(count, begin + kMessageTokensMax - prompt->token_ids_size());
    const int64_t bytes = AppendTokens(piece, begin, end, prompt);
    message.bytes += bytes;
    Count(bytes);
    begin = end;
  }
  if (piece.is_last) prompt_due_ = false;
  Wake();
}

void GenerateCall::OnChunk(const intake::AnswerChunk& chunk) {
  const std::lock_guard lock(mutex_);
  if (dropped_) return;
  Messages& messages = samples_[static_cast<size_t>(chunk.sample)];
  if (messages.empty() || messages.back().response.chunk().token_ids_size() >= kMessageTokensMax)
    messages.emplace_back();
  const int64_t bytes = Append(chunk, messages.back().response.mutable_chunk());
  messages.back().bytes += bytes;
  Count(bytes);
  if (IsDue(messages)) Wake();
}

void GenerateCall::OnSampleEnd(const intake::SampleEnd& end) {
  const std::lock_guard lock(mutex_);
  if (dropped_) return;
  Messages& messages = samples_[static_cast<size_t>(end.sample)];
  SetComplete(end, messages.emplace_back().response.mutable_complete());
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

// REQUIRES: mutex_ is held.
void GenerateCall::Count(int64_t bytes) {
  unread_bytes_ += bytes;
  streams_->CountUnread(bytes);
}

int64_t GenerateCall::UnreadBytes() {
  const std::lock_guard lock(mutex_);
  return unread_bytes_;
}

void GenerateCall::Drop() {
  {
    const std::lock_guard lock(mutex_);
    dropped_ = true;
    first_.clear();
    for (Messages& messages : samples_) messages.clear();
    Count(-unread_bytes_);
  }
  context_.TryCancel();  // OnOver then cancels the request; a write that waits for the client ends
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
  streams_->CountUnread(-unread_bytes_);
  streams_->Forget(this);
  delete this;
}

// Whether the first message of a sample is to be sent: all are but chunks that may still grow by
// the interval, and such as bring the first token. REQUIRES: mutex_ is held.
bool GenerateCall::IsDue(const Messages& messages) const {
  if (messages.empty()) return false;
  const v1::GenerateResponse& first = messages.front().response;
  if (messages.size() > 1 || status_.has_value() || !first.has_chunk()) return true;
  const v1::GenerateResponse::Chunk& chunk = first.chunk();
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
  const v1::GenerateResponse message = std::move(messages->front().response);
  Count(-messages->front().bytes);
  messages->pop_front();
  lock.unlock();
  grpc::ByteBuffer bytes;
  bool is_ours = false;
  OCTET_CHECK(
      grpc::SerializationTraits<v1::GenerateResponse>::Serialize(message, &bytes, &is_ours).ok());
  writer_.Write(bytes, Tag(&written_));
}

}  // namespace octet::transport
