// How much of its machine this process may have.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>

namespace octet {

// Of the machine, or of the control group that the process is in where that has less.
int64_t HostMemoryBytes();

// Cores that the process may run on, or as many as its control group's share of time comes to where
// that is less: more threads than these would be stopped for a part of each period. At least 1.
int HostCores();
// What the share leaves of `cores`.
int CoresOfShare(int cores);
// The same of a share as cpu.max has it, "QUOTA PERIOD" or "max PERIOD": whole cores. What can not
// be read is no limit.
int CoresOfShare(const std::string& cpu_max, int cores);

// Cores, by the machine's numbers.
using CoreSet = std::bitset<1024>;
// Those that the process may run on; all where that is not told.
CoreSet OwnCores();
// How many of the sets have a core in common with `own`.
int SharersOf(const CoreSet& own, std::span<const CoreSet> sets);

}  // namespace octet
