#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

TEST(IsaTest, TheBestFamilyComesFirst) {
  EXPECT_EQ(*ChooseIsa(""), AvailableIsas().back());
  EXPECT_EQ(*ChooseIsa("plain"), Isa::kPlain);
}

TEST(IsaTest, NamesAnAvailableFamilyOrSaysWhyNot) {
  for (const auto& [name, isa] :
       {std::pair("avx2", Isa::kAvx2), {"avx512", Isa::kAvx512Vnni}, {"amx", Isa::kAmx}}) {
    const Result<Isa> chosen = ChooseIsa(name);
    EXPECT_EQ(chosen.ok(), IsaAvailable(isa));
    if (chosen.ok()) {
      EXPECT_EQ(*chosen, isa);
    } else {
      EXPECT_EQ(chosen.status().message(),
                std::string("OCTET_ISA is '") + name +
                    "', which this machine's processor lacks; expected a family it has");
    }
  }
  for (const char* unknown : {"sse9", "AVX2", "avx512-vnni", "plain ", "0"}) {
    EXPECT_EQ(ChooseIsa(unknown).status().message(),
              std::string("OCTET_ISA is '") + unknown + "'; expected plain, avx2, avx512 or amx");
  }
}

TEST(IsaTest, ScopesForceAndRestore) {
  const Isa before = ActiveIsa();
  for (const Isa isa : AvailableIsas()) {
    const IsaScope scope(isa);
    EXPECT_EQ(ActiveIsa(), isa);
    EXPECT_EQ(OfActiveIsa(0, 1, 2), std::min(2, static_cast<int>(isa)));
  }
  EXPECT_EQ(ActiveIsa(), before);
}

// In a process of its own, where nothing has been chosen yet.
TEST(IsaDeathTest, TheFirstUseRefusesAnUnknownFamily) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("OCTET_ISA", "sse9", 1);
  EXPECT_EXIT(ActiveIsa(), testing::ExitedWithCode(2),
              "^OCTET_ISA is 'sse9'; expected plain, avx2, avx512 or amx\n$");
  unsetenv("OCTET_ISA");
}

}  // namespace
}  // namespace octet::kernels::test
