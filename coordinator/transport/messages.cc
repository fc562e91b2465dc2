#include "coordinator/transport/messages.h"

#include "base/build_id.h"

namespace octet::transport {

intake::Request ToRequest(const v1::GenerateRequest& message) {
  intake::Request request;
  request.request_id = message.request_id();
  if (message.has_text()) request.prompt = message.text();
  if (message.has_token_ids())
    request.prompt =
        std::vector<int32_t>(message.token_ids().ids().begin(), message.token_ids().ids().end());
  if (message.has_add_special_tokens()) request.add_special_tokens = message.add_special_tokens();
  if (message.has_parse_special_tokens())
    request.parse_special_tokens = message.parse_special_tokens();
  if (message.has_skip_special_tokens())
    request.skip_special_tokens = message.skip_special_tokens();

  const v1::SamplingParams& params = message.sampling_params();
  if (params.has_temperature()) request.temperature = params.temperature();
  if (params.has_top_p()) request.top_p = params.top_p();
  if (params.has_top_k()) request.top_k = params.top_k();
  if (params.has_min_p()) request.min_p = params.min_p();
  if (params.has_seed()) request.seed = params.seed();
  if (params.has_max_tokens()) request.max_tokens = params.max_tokens();
  request.stop_token_ids.assign(params.stop_token_ids().begin(), params.stop_token_ids().end());
  request.ignore_eos = params.ignore_eos();
  return request;
}

v1::GetModelResponse ToMessage(const workers::GroupInfo& info, const std::string& served_name) {
  v1::GetModelResponse out;
  out.set_name(served_name);
  out.set_architecture(info.architecture);
  out.set_vocab_size(info.vocab);
  out.set_max_model_len(info.context);
  out.mutable_eos_token_ids()->Add(info.eos_ids.begin(), info.eos_ids.end());
  if (info.bos_id >= 0) out.set_bos_token_id(info.bos_id);
  out.set_tensor_parallel_size(info.ranks);
  out.set_weights(info.weights);
  out.set_kv_cache(info.kv);
  out.set_activations(info.activations);
  out.set_instruction_set(info.isa);
  out.set_kv_blocks(info.kv_blocks);
  out.set_block_tokens(info.block_tokens);
  out.set_max_num_seqs(info.slots);
  for (const workers::RankMemory& memory : info.memory) {
    v1::MemoryOfRank* to = out.add_memory();
    to->set_rank(memory.rank);
    to->set_weight_bytes(memory.weight_bytes);
    to->set_kv_bytes(memory.kv_bytes);
    to->set_activation_bytes(memory.activation_bytes);
    to->set_communication_bytes(memory.communication_bytes);
  }
  out.set_version(std::string(Version()));
  out.set_build_id(info.build_id);
  return out;
}

grpc::Status ToGrpc(const Status& status) {
  // A message travels in a header, and headers have a limit of 8 KiB in all.
  constexpr size_t kMessageBytesMax = 2048;
  return {static_cast<grpc::StatusCode>(status.code()),
          status.message().substr(0, kMessageBytesMax)};
}

}  // namespace octet::transport
