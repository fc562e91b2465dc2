// What `new` has handed out: a test's bound on what a reader takes for a file that it then refuses.
// Whoever includes it links counted_memory.cc, whose operator new counts for the whole program.
#pragma once

#include <cstdint>

namespace octet::testing {

// From its making on; one at a time.
class CountedMemory {
 public:
  CountedMemory();
  int64_t largest_bytes() const;  // one allocation
  int64_t peak_bytes() const;     // above what was held at the making
};

}  // namespace octet::testing
