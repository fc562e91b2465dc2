#include "base/json/json.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

TEST(ParseJson, BuildsWhatIsAllowed) {
  const auto value = ParseJson(R"({"a": [1, {"b": null}], "c": {"b": 2}})", "x.json");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ((*value)["c"]["b"], 2);
}

TEST(ParseJson, RefusesDepthBeforeBuilding) {
  const std::string deep(1'000'000, '[');
  const auto value = ParseJson(deep, "x.json");
  EXPECT_EQ(value.status().message(), "x.json: nested deeper than the limit of 64 levels");
  const std::string allowed = std::string(64, '[') + std::string(64, ']');
  EXPECT_TRUE(ParseJson(allowed, "x.json").ok());
  EXPECT_FALSE(ParseJson("[" + allowed + "]", "x.json").ok());
}

TEST(ParseJson, RefusesSizeAndDuplicates) {
  EXPECT_EQ(ParseJson("[1, 2]", "x.json", {.bytes_max = 5}).status().message(),
            "x.json: 6 bytes of JSON, the limit is 5");
  EXPECT_EQ(ParseJson(R"({"a": {"k": 1, "k": 2}})", "x.json").status().message(),
            "x.json: key \"k\" is given twice in one object");
  EXPECT_TRUE(ParseJson(R"({"a": {"a": 1}})", "x.json").ok());
}

TEST(ParseJson, NamesPlaceAndKeyOfBadText) {
  EXPECT_EQ(ParseJson(R"({"rope_theta": NaN})", "config.json").status().message(),
            "config.json: not valid JSON at byte 16, in or after the value of key \"rope_theta\"");
  for (const char* bad : {"", "{", "{}x", "[1,]", "\xff", "{\"a\": 1e999}", "[\"\xc3\x28\"]"}) {
    EXPECT_EQ(ParseJson(bad, "x.json").status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Quoted, EscapesAndCuts) {
  EXPECT_EQ(Quoted("a\nb"), "\"a\\x0ab\"");
  EXPECT_LT(Quoted(std::string(1000, 'a')).size(), 200u);
}

}  // namespace
}  // namespace octet
