// CHECK: for bugs, never for bad input. A failed check prints the place and both values and ends
// the process, because a rank that returned early would leave the others in a collective.
#pragma once

#include <sstream>
#include <string>

namespace octet {

[[noreturn]] void CheckFailed(const char* file, int line, const std::string& what);

template <typename A, typename B>
[[noreturn]] void CheckOpFailed(const char* file, int line, const char* expr, const A& a,
                                const B& b) {
  std::ostringstream out;
  out << expr << " (" << a << " vs " << b << ")";
  CheckFailed(file, line, out.str());
}

}  // namespace octet

#define OCTET_CHECK(condition) \
  ((condition) ? (void)0 : ::octet::CheckFailed(__FILE__, __LINE__, #condition))
#define OCTET_CHECK_OP(a, op, b)                                                         \
  do {                                                                                   \
    const auto& octet_a_ = (a);                                                          \
    const auto& octet_b_ = (b);                                                          \
    if (!(octet_a_ op octet_b_))                                                         \
      ::octet::CheckOpFailed(__FILE__, __LINE__, #a " " #op " " #b, octet_a_, octet_b_); \
  } while (false)
#define OCTET_CHECK_EQ(a, b) OCTET_CHECK_OP(a, ==, b)
#define OCTET_CHECK_NE(a, b) OCTET_CHECK_OP(a, !=, b)
#define OCTET_CHECK_LE(a, b) OCTET_CHECK_OP(a, <=, b)
#define OCTET_CHECK_LT(a, b) OCTET_CHECK_OP(a, <, b)
#define OCTET_CHECK_GE(a, b) OCTET_CHECK_OP(a, >=, b)
#define OCTET_CHECK_GT(a, b) OCTET_CHECK_OP(a, >, b)
