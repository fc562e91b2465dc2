// What a worker group said of itself when it became ready, as plain values, so that those who only
// ask need not know the link's messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace octet::workers {

struct RankMemory {
  int32_t rank = 0;
  int64_t weight_bytes = 0;
  int64_t kv_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t communication_bytes = 0;
};

struct GroupInfo {
  int32_t ranks = 0;
  std::string build_id;
  std::string isa;
  std::string config_digest;
  std::string architecture;
  int64_t vocab = 0;
  int64_t context = 0;  // tokens a sequence may have; never more than the KV blocks hold
  std::vector<int32_t> eos_ids;
  int32_t bos_id = -1;  // -1: none
  int64_t kv_blocks = 0;
  int64_t block_tokens = 0;
  int64_t slots = 0;
  int64_t step_rows_max = 0;
  int64_t rope_scaled_beyond = 0;  // prompt tokens; 0: rope does not depend on them
  std::string weights;
  std::string kv;
  std::string activations;
  std::vector<std::string> weights_keys;  // [ranks] v1::Ready::weights_key
  std::vector<RankMemory> memory;
};

// A group that is started again must be what the first was, or running sequences would change.
// `same_hosts`: its ranks see the files that the first ones saw; else each may have its own copy.
Status CheckSameGroup(const GroupInfo& first, const GroupInfo& now, bool same_hosts);

}  // namespace octet::workers
