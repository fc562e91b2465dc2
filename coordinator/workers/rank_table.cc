#include "coordinator/workers/rank_table.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"

namespace octet::workers {
namespace {

// Does not tell by its time how much of the secret was right.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

Status Mismatch(std::string_view what, const v1::Hello& mine, const std::string& my_value,
                const v1::Hello& other, const std::string& other_value) {
  return FailedPrecondition(std::string(what).append(" differ: rank ") +
                            std::to_string(mine.rank()) + " has '" + my_value + "', rank " +
                            std::to_string(other.rank()) + " has '" + other_value + "'");
}

Status CheckAlike(const v1::Hello& a, const v1::Hello& b) {
  if (a.build_id() != b.build_id()) return Mismatch("builds", a, a.build_id(), b, b.build_id());
  if (a.isa() != b.isa()) return Mismatch("instruction families", a, a.isa(), b, b.isa());
  if (a.config_digest() != b.config_digest())
    return Mismatch("configurations", a, a.config_digest(), b, b.config_digest());
  return {};
}

Status CheckRange(std::string_view name, int64_t value, int64_t max) {
  if (value >= 1 && value <= max) return {};
  return FailedPrecondition(std::string("rank 0 says ").append(name) + " is " +
                            std::to_string(value) + "; it must be between 1 and " +
                            std::to_string(max));
}

Status CheckModel(const v1::ModelInfo& model) {
  OCTET_RETURN_IF_ERROR(CheckRange("vocab", model.vocab(), kVocabMax));
  OCTET_RETURN_IF_ERROR(CheckRange("context", model.context(), kContextMax));
  OCTET_RETURN_IF_ERROR(CheckRange("kv_blocks", model.kv_blocks(), kKvBlocksMax));
  OCTET_RETURN_IF_ERROR(CheckRange("block_tokens", model.block_tokens(), kContextMax));
  OCTET_RETURN_IF_ERROR(CheckRange("slots", model.slots(), kSlotsMax));
  OCTET_RETURN_IF_ERROR(CheckRange("step_rows_max", model.step_rows_max(), kStepRowsMax));
  for (const int32_t id : model.eos_ids()) {
    if (id < 0 || id >= model.vocab())
      return FailedPrecondition("rank 0 says an end token is " + std::to_string(id) +
                                "; the model's tokens are 0 to " +
                                std::to_string(model.vocab() - 1));
  }
  return {};
}

}  // namespace

Status RankTable::CheckLaunch(const v1::Hello& hello) const {
  if (!SameSecret(hello.secret(), secret_))
    return {StatusCode::kPermissionDenied, "the secret of this launch is another"};
  if (hello.epoch() != epoch_)
    return {StatusCode::kPermissionDenied, "rank " + std::to_string(hello.rank()) +
                                               " is of launch " + std::to_string(hello.epoch()) +
                                               "; the present one is " + std::to_string(epoch_)};
  return {};
}

Status RankTable::Add(const v1::Hello& hello) {
  const auto ranks = static_cast<int32_t>(hellos_.size());
  if (hello.ranks() != ranks)
    return FailedPrecondition("rank " + std::to_string(hello.rank()) + " is one of " +
                              std::to_string(hello.ranks()) + " ranks; expected " +
                              std::to_string(ranks));
  if (hello.rank() < 0 || hello.rank() >= ranks)
    return FailedPrecondition("a rank says it is rank " + std::to_string(hello.rank()) +
                              "; expected 0 to " + std::to_string(ranks - 1));
  if (hellos_[hello.rank()].has_value())
    return FailedPrecondition("two processes say they are rank " + std::to_string(hello.rank()) +
                              ": pid " + std::to_string(hellos_[hello.rank()]->pid()) +
                              " and pid " + std::to_string(hello.pid()));
  for (const auto& other : hellos_) {
    if (other.has_value()) OCTET_RETURN_IF_ERROR(CheckAlike(hello, *other));
  }
  if (hello.rank() == 0) {
    if (!hello.has_model()) return FailedPrecondition("rank 0 says nothing of its model");
    OCTET_RETURN_IF_ERROR(CheckModel(hello.model()));
  }
  hellos_[hello.rank()] = hello;
  ++present_;
  return {};
}

GroupInfo RankTable::info() const {
  OCTET_CHECK(complete());
  const v1::Hello& first = *hellos_[0];
  const v1::ModelInfo& model = first.model();
  GroupInfo info;
  info.ranks = static_cast<int32_t>(hellos_.size());
  info.build_id = first.build_id();
  info.isa = first.isa();
  info.config_digest = first.config_digest();
  info.architecture = model.architecture();
  info.vocab = model.vocab();
  info.context = std::min(model.context(), model.kv_blocks() * model.block_tokens());
  info.eos_ids.assign(model.eos_ids().begin(), model.eos_ids().end());
  info.bos_id = model.bos_id();
  info.kv_blocks = model.kv_blocks();
  info.block_tokens = model.block_tokens();
  info.slots = model.slots();
  info.step_rows_max = model.step_rows_max();
  info.weights = model.weights();
  info.kv = model.kv();
  info.activations = model.activations();
  for (const v1::RankMemory& m : model.memory())
    info.memory.push_back(
        {m.rank(), m.weight_bytes(), m.kv_bytes(), m.activation_bytes(), m.communication_bytes()});
  return info;
}

}  // namespace octet::workers
