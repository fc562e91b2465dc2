#include "worker/link/plan_broadcast.h"

#include <algorithm>
#include <cstring>

#include "worker/engine/engine_config.h"

namespace octet::worker {
namespace {

constexpr int64_t kEndOfPlans = -1;
constexpr size_t kHeaderBytes = sizeof(int64_t);

}  // namespace

PlanBroadcast::PlanBroadcast(comm::Communicator* comm)
    : comm_(comm), message_(static_cast<size_t>(kPlanMessageBytes)) {}

std::optional<std::string> PlanBroadcast::Exchange(std::optional<std::string> plan) {
  const size_t room = message_.size() - kHeaderBytes;
  int64_t plan_bytes = kEndOfPlans;
  if (comm_->rank() == 0) {
    if (plan.has_value()) {
      plan_bytes = static_cast<int64_t>(plan->size());
      std::memcpy(message_.data() + kHeaderBytes, plan->data(), std::min(room, plan->size()));
    }
    std::memcpy(message_.data(), &plan_bytes, kHeaderBytes);
  }
  comm_->Broadcast(message_, 0);
  std::memcpy(&plan_bytes, message_.data(), kHeaderBytes);
  if (plan_bytes == kEndOfPlans) return std::nullopt;

  std::string received(static_cast<size_t>(plan_bytes), '\0');
  size_t held = std::min(room, received.size());
  if (comm_->rank() == 0) {
    received = std::move(*plan);
  } else {
    std::memcpy(received.data(), message_.data() + kHeaderBytes, held);
  }
  while (held < received.size()) {
    const size_t piece = std::min(message_.size(), received.size() - held);
    comm_->Broadcast(std::as_writable_bytes(std::span(received).subspan(held, piece)), 0);
    held += piece;
  }
  return received;
}

}  // namespace octet::worker
