// How much memory this process may have.
#pragma once

#include <cstdint>

namespace octet {

// Of the machine, or of the control group that the process is in where that has less.
int64_t HostMemoryBytes();

}  // namespace octet
