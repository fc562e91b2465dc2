// Seeded inputs, and the instruction families to run an op on.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/isa.h"

namespace octet::kernels::test {

inline std::vector<float> Normal(int64_t count, uint32_t seed, float mean = 0,
                                 float deviation = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw(mean, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = draw(engine);
  return values;
}

inline std::vector<Isa> AvailableIsas() {
  std::vector<Isa> isas;
  for (const Isa isa : kIsas) {
    if (IsaAvailable(isa)) isas.push_back(isa);
  }
  return isas;
}

// Equal bit for bit: tells +0 from -0, and a NaN is equal to itself.
inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Forces a family for its life.
class IsaScope {
 public:
  explicit IsaScope(Isa isa) : before_(ActiveIsa()) { ForceIsa(isa); }
  ~IsaScope() { ForceIsa(before_); }
  IsaScope(const IsaScope&) = delete;
  IsaScope& operator=(const IsaScope&) = delete;

 private:
  Isa before_;
};

}  // namespace octet::kernels::test
