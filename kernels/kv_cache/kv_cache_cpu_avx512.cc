#include "kernels/kv_cache/kv_cache_isa.h"
#include "kernels/kv_cache/kv_cache_lanes.h"

namespace octet::kernels {

const KvCacheBody kAvx512KvCache = kBody;

}  // namespace octet::kernels
