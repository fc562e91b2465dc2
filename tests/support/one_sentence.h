// What a refusal must be: an error, told in one line.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace octet {

// `part` of the message; `what` was done to be refused.
inline void ExpectOneSentence(const Status& status, const std::string& part,
                              const std::string& what) {
  ASSERT_FALSE(status.ok()) << what;
  EXPECT_NE(status.message().find(part), std::string::npos) << what << ": " << status.message();
  EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
}

}  // namespace octet
