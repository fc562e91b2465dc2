#include "tests/support/emulator/race.h"

#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace octet::emulator {
namespace {

constexpr PlaceId kInterned = 0x80000000u;

struct InternedPlaces {
  std::map<std::pair<const char*, uint32_t>, PlaceId> ids;
  std::vector<Place> places;
};
InternedPlaces& Interned() {
  static auto* interned = new InternedPlaces;
  return *interned;
}

}  // namespace

PlaceId IdOf(const Place& place) {
  InternedPlaces& interned = Interned();
  const auto next = static_cast<PlaceId>(interned.places.size());
  const auto [entry, added] = interned.ids.try_emplace({place.file_name(), place.line()}, next);
  if (added) interned.places.push_back(place);
  return kInterned | entry->second;
}

// Emulated tests are linked without -pie, so that code lies in the low addresses.
PlaceId IdOf(const void* code) {
  return static_cast<PlaceId>(reinterpret_cast<uintptr_t>(code)) & ~kInterned;
}

std::string Describe(PlaceId id) {
  if ((id & kInterned) != 0) {
    const Place& place = Interned().places[id & ~kInterned];
    return std::string(place.file_name()) + ":" + std::to_string(place.line());
  }
  char text[512] = "";
  // The return address is behind the call.
  auto* code = reinterpret_cast<void*>(static_cast<uintptr_t>(id) - 1);
  __sanitizer_symbolize_pc(code, "%S", text, sizeof(text));
  return text;
}

void Clock::Join(const Clock& other) {
  floor = std::max(floor, other.floor);
  for (size_t i = 0; i < known.size(); ++i) known[i] = std::max(known[i], other.known[i]);
}

void SharedWords::Reset(int64_t bytes, int threads) {
  const int64_t count = bytes / kWordBytes;
  if (static_cast<int64_t>(words_.size()) < count) words_.resize(count);
  ++use_;
  threads_ = threads;
}

std::string SharedWords::Name(int actor) const {
  if (actor < threads_) return "thread " + std::to_string(actor);
  if (actor == threads_) return "a bulk copy";
  return "the matrix unit of warpgroup " + std::to_string(actor - threads_ - 1);
}

std::string SharedWords::Tell(const Touch& touch) const {
  return Name(touch.actor) + " at " + Describe(touch.place);
}

template <typename Visit>
std::string SharedWords::ForEachWord(uint32_t offset, int64_t bytes, const Visit& visit) {
  const int64_t end = offset + bytes;
  for (int64_t at = offset; at < end;) {
    const int64_t word = at / kWordBytes;
    const int64_t next = std::min(end, (word + 1) * kWordBytes);
    const int shift = static_cast<int>(at % kWordBytes);
    const auto mask = static_cast<uint8_t>(((1 << (next - at)) - 1) << shift);
    if (words_[word].use != use_) {
      words_[word] = {};
      words_[word].use = use_;
    }
    if (std::string problem = visit(words_[word], mask); !problem.empty())
      return problem + " (shared memory, offset " + std::to_string(at) + ")";
    at = next;
  }
  return {};
}

std::string SharedWords::CheckWord(Word& word, uint8_t mask, const Access& access,
                                   const Clock& clock) {
  const bool writes = access.kind != AccessKind::kRead;
  const char* verb = writes ? "writes" : "reads";
  if (word.barrier)
    return Name(access.actor) + " " + verb + " the words of a barrier initialised by " +
           Tell(word.write);
  if (word.in_flight)
    return Name(access.actor) + " " + verb + " bytes in flight: copied to by " + Tell(word.write) +
           ", not yet waited for";
  if (writes && word.holders > 0)
    return Name(access.actor) + " writes bytes that a wgmma in flight still reads, issued by " +
           Tell(word.reads[0]);
  const Touch& write = word.write;
  if (write.time != 0 && (write.bytes & mask) != 0 && write.actor != access.actor &&
      !(word.atomic && access.kind == AccessKind::kAtomic) && !clock.Knows(write.actor, write.time))
    return std::string("race: ") + Name(access.actor) + " " + verb + " what " + Tell(write) +
           " wrote, with no barrier between them";
  if (access.kind != AccessKind::kWrite && (mask & ~word.written) != 0)
    return Name(access.actor) + " reads shared memory that no one has written";
  if (!writes) return {};
  for (const Touch& read : word.reads) {
    if (read.time != 0 && (read.bytes & mask) != 0 && read.actor != access.actor &&
        !clock.Knows(read.actor, read.time))
      return std::string("race: ") + Name(access.actor) + " overwrites what " + Tell(read) +
             " read, with no barrier between them";
  }
  return {};
}

std::string SharedWords::Check(uint32_t offset, int64_t bytes, const Access& access,
                               const Clock& clock, Time now) {
  return ForEachWord(offset, bytes, [&](Word& word, uint8_t mask) -> std::string {
    if (std::string problem = CheckWord(word, mask, access, clock); !problem.empty())
      return problem;
    const Touch touch{now, access.place, static_cast<uint16_t>(access.actor), mask};
    if (access.kind != AccessKind::kRead) {
      word.write = touch;
      word.written |= mask;
      word.atomic = access.kind == AccessKind::kAtomic;
      word.generic = access.generic;
      word.reads[0] = word.reads[1] = {};
      return {};
    }
    Touch& first = word.reads[0];
    const bool replaceable =
        first.time == 0 || first.actor == access.actor || clock.Knows(first.actor, first.time);
    Touch& slot = replaceable ? first : word.reads[1];
    const bool same = slot.time != 0 && slot.actor == access.actor;
    slot = touch;
    if (same) slot.bytes |= mask;
    return {};
  });
}

bool SharedWords::IsUnfenced(const Word& word, const std::vector<Time>& fences) const {
  return word.generic && word.write.actor < threads_ && word.write.time > fences[word.write.actor];
}

std::string SharedWords::TakeOff(uint32_t offset, int64_t bytes, const Access& access,
                                 const Clock& clock, const std::vector<Time>* fences, Time now) {
  return ForEachWord(offset, bytes, [&](Word& word, uint8_t mask) -> std::string {
    if (std::string problem = CheckWord(word, mask, access, clock); !problem.empty())
      return problem;
    if (fences != nullptr && IsUnfenced(word, *fences))
      return Name(access.actor) + " copies over what " + Tell(word.write) +
             " wrote without a fence_proxy_async after it";
    word.write = {now, access.place, static_cast<uint16_t>(access.actor), mask};
    word.in_flight = true;
    word.reads[0] = word.reads[1] = {};
    return {};
  });
}

void SharedWords::Land(uint32_t offset, int64_t bytes, const Access& access, Time now) {
  ForEachWord(offset, bytes, [&](Word& word, uint8_t mask) -> std::string {
    word.write = {now, access.place, static_cast<uint16_t>(access.actor), mask};
    word.in_flight = false;
    word.written |= mask;
    word.atomic = false;
    word.generic = access.generic;
    return {};
  });
}

std::string SharedWords::HoldForReaders(uint32_t offset, int64_t bytes, const Access& access,
                                        const Clock& clock, const std::vector<Time>& fences,
                                        Time now) {
  return ForEachWord(offset, bytes, [&](Word& word, uint8_t mask) -> std::string {
    if (std::string problem = CheckWord(word, mask, access, clock); !problem.empty())
      return problem;
    if (IsUnfenced(word, fences))
      return Name(access.actor) + " reads what " + Tell(word.write) +
             " wrote without a fence_proxy_async after it";
    ++word.holders;
    word.reads[0] = {now, access.place, static_cast<uint16_t>(access.actor), mask};
    return {};
  });
}

void SharedWords::ReleaseReaders(uint32_t offset, int64_t bytes, const Access& access, Time now) {
  ForEachWord(offset, bytes, [&](Word& word, uint8_t mask) -> std::string {
    --word.holders;
    word.reads[0] = {now, access.place, static_cast<uint16_t>(access.actor), mask};
    return {};
  });
}

void SharedWords::MakeBarrier(uint32_t offset, PlaceId place) {
  ForEachWord(offset, sizeof(uint64_t), [&](Word& word, uint8_t mask) -> std::string {
    word.write = {1, place, 0, mask};
    word.barrier = true;
    return {};
  });
}

}  // namespace octet::emulator
