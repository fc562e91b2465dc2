// The table of injected faults: one printed line each, "fault | F9 | what was injected | what was
// seen", so that a run of the tests is also the report of what the service withstands.
#pragma once

#include <cstdio>
#include <string>

namespace octet::testing {

// `row` is the fault's short name; `seen` is what really came: the sentence, the exit code.
inline void FaultSeen(const std::string& row, const std::string& injected,
                      const std::string& seen) {
  std::string line = "fault | " + row + " | " + injected + " | " + seen;
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace octet::testing
