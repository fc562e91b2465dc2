#include "coordinator/workers/group_info.h"

#include <sstream>

namespace octet::workers {

Status CheckSameGroup(const GroupInfo& first, const GroupInfo& now, bool same_hosts) {
  if (same_hosts && first.weights_keys != now.weights_keys) {
    return FailedPrecondition(
        "the model's files, or the program, have changed since the service started: running "
        "answers can not go on with other weights; start the service again");
  }
  const auto check = [](const char* what, const auto& a, const auto& b) -> Status {
    if (a == b) return {};
    std::ostringstream out;
    out << "the workers that started again have " << what << " " << b << "; the first had " << a;
    return FailedPrecondition(out.str());
  };
  OCTET_RETURN_IF_ERROR(check("build", first.build_id, now.build_id));
  OCTET_RETURN_IF_ERROR(check("instruction family", first.isa, now.isa));
  OCTET_RETURN_IF_ERROR(check("configuration", first.config_digest, now.config_digest));
  OCTET_RETURN_IF_ERROR(check("vocabulary", first.vocab, now.vocab));
  OCTET_RETURN_IF_ERROR(check("context", first.context, now.context));
  OCTET_RETURN_IF_ERROR(check("KV blocks", first.kv_blocks, now.kv_blocks));
  OCTET_RETURN_IF_ERROR(check("tokens per block", first.block_tokens, now.block_tokens));
  OCTET_RETURN_IF_ERROR(check("slots", first.slots, now.slots));
  return check("rows per step", first.step_rows_max, now.step_rows_max);
}

}  // namespace octet::workers
