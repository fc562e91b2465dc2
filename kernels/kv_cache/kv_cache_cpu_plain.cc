#include "kernels/kv_cache/kv_cache_isa.h"
#include "kernels/kv_cache/kv_cache_lanes.h"

namespace octet::kernels {

const KvCacheBody kPlainKvCache = kBody;

}  // namespace octet::kernels
