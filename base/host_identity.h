// Which machine this is, and which table of processes: where two of these are equal, a process
// number that one tells means the same process to the other.
#pragma once

#include <string>

namespace octet {

// "<boot id>/<pid namespace>" (Linux: /proc/sys/kernel/random/boot_id and /proc/self/ns/pid). Empty
// where the system does not say; then it is equal to nobody's.
std::string HostIdentity();

}  // namespace octet
