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

Status CheckAlike(std::string_view what, int32_t rank, const std::string& value, int32_t other_rank,
                  const std::string& other_value) {
  if (value == other_value) return {};
  return FailedPrecondition(std::string(what).append(" differ: rank ") + std::to_string(rank) +
                            " has '" + value + "', rank " + std::to_string(other_rank) + " has '" +
                            other_value + "'");
}

Status CheckAlike(const v1::Hello& a, const v1::Hello& b) {
  OCTET_RETURN_IF_ERROR(CheckAlike("builds", a.rank(), a.build_id(), b.rank(), b.build_id()));
  return CheckAlike("instruction families", a.rank(), a.isa(), b.rank(), b.isa());
}

Status CheckOwnGpu(const v1::Hello& a, const v1::Hello& b) {
  if (a.gpu().empty() || a.gpu() != b.gpu() || a.host() != b.host()) return {};
  return FailedPrecondition("ranks " + std::to_string(std::min(a.rank(), b.rank())) + " and " +
                            std::to_string(std::max(a.rank(), b.rank())) + " compute on one GPU, " +
                            a.gpu() +
                            "; give each rank its own, or for a test let them share with "
                            "--share-gpu");
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
  if (model.rope_scaled_beyond() != 0) {
    OCTET_RETURN_IF_ERROR(
        CheckRange("rope_scaled_beyond", model.rope_scaled_beyond(), kContextMax));
  }
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
    if (!other.has_value()) continue;
    OCTET_RETURN_IF_ERROR(CheckAlike(hello, *other));
    OCTET_RETURN_IF_ERROR(CheckOwnGpu(hello, *other));
  }
  hellos_[hello.rank()] = hello;
  ++present_;
  return {};
}

Status RankTable::SetReady(int32_t rank, const v1::Ready& ready) {
  OCTET_CHECK(hellos_[rank].has_value());
  if (is_ready(rank))
    return FailedPrecondition("rank " + std::to_string(rank) + " said twice that it is ready");
  for (int32_t other = 0; other < ranks(); ++other) {
    if (is_ready(other))
      OCTET_RETURN_IF_ERROR(CheckAlike("configurations", rank, ready.config_digest(), other,
                                       readies_[other]->config_digest()));
  }
  if (rank == 0) {
    if (!ready.has_model()) return FailedPrecondition("rank 0 says nothing of its model");
    OCTET_RETURN_IF_ERROR(CheckModel(ready.model()));
  }
  readies_[rank] = ready;
  ++ready_;
  return {};
}

GroupInfo RankTable::info() const {
  OCTET_CHECK(complete());
  const v1::Hello& first = *hellos_[0];
  const v1::ModelInfo& model = readies_[0]->model();
  GroupInfo info;
  info.ranks = static_cast<int32_t>(hellos_.size());
  info.build_id = first.build_id();
  info.isa = first.isa();
  info.config_digest = readies_[0]->config_digest();
  info.architecture = model.architecture();
  info.vocab = model.vocab();
  info.context = std::min(model.context(), model.kv_blocks() * model.block_tokens());
  info.eos_ids.assign(model.eos_ids().begin(), model.eos_ids().end());
  info.bos_id = model.bos_id();
  info.kv_blocks = model.kv_blocks();
  info.block_tokens = model.block_tokens();
  info.slots = model.slots();
  info.step_rows_max = model.step_rows_max();
  info.rope_scaled_beyond = model.rope_scaled_beyond();
  info.weights = model.weights();
  info.kv = model.kv();
  info.activations = model.activations();
  for (const auto& ready : readies_) info.weights_keys.push_back(ready->weights_key());
  for (const v1::RankMemory& m : model.memory())
    info.memory.push_back(
        {m.rank(), m.weight_bytes(), m.kv_bytes(), m.activation_bytes(), m.communication_bytes()});
  return info;
}

}  // namespace octet::workers
