// Who wrote and who read each word of a block's shared memory last, and whether a new access comes
// after it by the rules of synchronization, not by luck. Time is one counter for a whole launch; it
// moves on at every release. A thread knows of another what the other did before a moment
// (`known`), and of all threads what they did before `floor`, the last barrier of the whole block.
//
// Precision: one last write and two reads are kept for each word of 4 bytes, with the bytes they
// touched. What falls out of that is missed, never reported falsely.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/emulator/runtime.h"

namespace octet::emulator {

// A place in the source, as a number: an address of code, or an interned std::source_location.
using PlaceId = uint32_t;
PlaceId IdOf(const Place& place);
PlaceId IdOf(const void* code);
std::string Describe(PlaceId id);

using Time = uint32_t;

// What one actor knows. Actors are the threads of a block, then its asynchronous units: bulk
// copies, and one for the matrix unit of each warpgroup.
struct Clock {
  Time floor = 0;
  std::vector<Time> known;  // [actors]

  bool Knows(int actor, Time time) const { return time <= floor || time <= known[actor]; }
  void Join(const Clock& other);
};

enum class AccessKind { kRead, kWrite, kAtomic };

struct Access {
  int actor;
  AccessKind kind;
  PlaceId place;
  bool generic = true;  // ordinary loads and stores, and cp.async; not bulk copies and wgmma
};

class SharedWords {
 public:
  // For `bytes` of shared memory and `actors`, of which the first `threads` are threads.
  void Reset(int64_t bytes, int threads);

  // Each returns an empty string, or what is wrong. Offsets are bytes of the arena.
  std::string Check(uint32_t offset, int64_t bytes, const Access& access, const Clock& clock,
                    Time now);
  // A copy that runs on: until Land, the bytes may not be touched. `fences`, where the copy is one
  // of the async proxy, are the threads' last proxy fences: what they wrote before is to be behind
  // one.
  std::string TakeOff(uint32_t offset, int64_t bytes, const Access& access, const Clock& clock,
                      const std::vector<Time>* fences, Time now);
  void Land(uint32_t offset, int64_t bytes, const Access& access, Time now);
  // A matrix unit reads until ReleaseReaders. `fences` are the threads' last proxy fences.
  std::string HoldForReaders(uint32_t offset, int64_t bytes, const Access& access,
                             const Clock& clock, const std::vector<Time>& fences, Time now);
  void ReleaseReaders(uint32_t offset, int64_t bytes, const Access& access, Time now);
  // The words of a barrier, which nothing else may touch.
  void MakeBarrier(uint32_t offset, PlaceId place);

 private:
  static constexpr int kWordBytes = 4;
  struct Touch {
    Time time = 0;  // 0: none
    PlaceId place = 0;
    uint16_t actor = 0;
    uint8_t bytes = 0;  // bit i: byte i of the word
  };
  struct Word {
    uint32_t use = 0;  // of the arena, when the word was touched last
    Touch write;
    Touch reads[2];
    uint8_t written = 0;  // bytes ever written
    uint8_t holders = 0;  // matrix units reading now
    bool in_flight = false;
    bool atomic = false;
    bool generic = false;
    bool barrier = false;
  };

  template <typename Visit>
  std::string ForEachWord(uint32_t offset, int64_t bytes, const Visit& visit);
  std::string CheckWord(Word& word, uint8_t mask, const Access& access, const Clock& clock);
  bool IsUnfenced(const Word& word, const std::vector<Time>& fences) const;
  std::string Name(int actor) const;
  std::string Tell(const Touch& touch) const;

  std::vector<Word> words_;
  uint32_t use_ = 0;  // words of earlier uses count as untouched
  int threads_ = 0;
};

}  // namespace octet::emulator
