// Hostile templates and messages: each ends in a status that says the limit, soon and with the
// stack and the memory it may use.
#include <gtest/gtest.h>

#include "tests/coordinator/chat/goldens.h"

namespace octet::chat {
namespace {

std::string Repeated(std::string_view text, int64_t times) {
  std::string out;
  for (int64_t i = 0; i < times; ++i) out += text;
  return out;
}

void ExpectTooMuch(const std::string& source, const std::string& words,
                   const Json& variables = Json::object()) {
  const auto result = RenderSource(source, variables);
  ASSERT_FALSE(result.ok()) << source.substr(0, 200);
  EXPECT_EQ(result.status().code(), StatusCode::kResourceExhausted) << result.status().message();
  EXPECT_NE(result.status().message().find(words), std::string::npos) << result.status().message();
}

// Loops within loops, 100,000 items each.
std::string Loops(int depth, const std::string& body) {
  std::string source = body;
  for (int i = 0; i < depth; ++i) {
    source = "{% for i" + std::to_string(i) + " in range(99999) %}" + source + "{% endfor %}";
  }
  return source;
}

TEST(ChatTemplateBounds, LoopsEnd) {
  ExpectTooMuch("{% for i in range(10 ** 9) %}x{% endfor %}",
                "a range of the template is too long");
  ExpectTooMuch(Loops(3, ""), "too many");
  ExpectTooMuch(Loops(3, "{% set x = 1 %}"), "too many");
  ExpectTooMuch(Loops(2, "{% set x = namespace(a=1) %}"), "too many");
}

TEST(ChatTemplateBounds, NestingEndsBeforeTheStackDoes) {
  constexpr int64_t kTimes = 30'000;
  const std::string too_deep = "nested too deep";
  ExpectTooMuch("{{ " + Repeated("(", kTimes) + "1" + Repeated(")", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ " + Repeated("[", kTimes) + "1" + Repeated("]", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ " + Repeated("{1:", kTimes) + "1" + Repeated("}", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ " + Repeated("not ", kTimes) + "1 }}", too_deep);
  ExpectTooMuch("{{ " + Repeated("-", kTimes) + "1 }}", too_deep);
  ExpectTooMuch("{{ 1" + Repeated("+1", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ 1" + Repeated(" or 1", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ a" + Repeated(".a", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ a" + Repeated("[0]", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ a" + Repeated("()", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ a" + Repeated("|trim", kTimes) + " }}", too_deep);
  ExpectTooMuch("{{ 1" + Repeated(" if 1 else 1", kTimes / 2) + " }}", too_deep);
  ExpectTooMuch("{{ a is in " + Repeated("[", kTimes) + Repeated("]", kTimes) + " }}", too_deep);
  ExpectTooMuch(Repeated("{% if 1 %}", kTimes / 2), too_deep);
  ExpectTooMuch("{% if 1 %}" + Repeated("{% elif 1 %}", kTimes / 2), too_deep);
  ExpectTooMuch(Repeated("{% for a in b %}", kTimes / 2), too_deep);
  ExpectTooMuch(Repeated("{% macro a() %}", kTimes / 2), too_deep);
  ExpectTooMuch(Repeated("{% set a %}", kTimes / 2), too_deep);
}

TEST(ChatTemplateBounds, MacrosEnd) {
  const std::string calls = "too many macro calls";
  ExpectTooMuch("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", calls);
  ExpectTooMuch(
      "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
      calls);
  ExpectTooMuch("{% macro f(a=f()) %}{% endmacro %}{{ f() }}", calls);
  ExpectTooMuch(
      "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(39) }}",
      "too many steps");
  // As deep as the text may be, in macros as deep as they may be.
  const std::string deep = Repeated("(0 or ", 60) + "f(n - 1)" + Repeated(")", 60);
  ExpectTooMuch("{% macro f(n) %}{{ " + deep + " if n else '' }}{% endmacro %}{{ f(39) }}",
                "nests its evaluation too deep");
}

TEST(ChatTemplateBounds, ValuesEnd) {
  const std::string bytes = "too many bytes of values";
  ExpectTooMuch(
      "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}"
      "{% endfor %}",
      bytes);
  ExpectTooMuch(
      "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
      "{% endfor %}",
      bytes);
  ExpectTooMuch(
      "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}"
      "{% endfor %}",
      "too many");
  ExpectTooMuch("{{ 'a' * 10 ** 18 }}", bytes);
  ExpectTooMuch("{{ [1] * 10 ** 18 }}", "too many");
  ExpectTooMuch("{{ ('a' * 10 ** 6) | replace('', 'b' * 10 ** 6) }}", bytes);
  ExpectTooMuch("{{ ([('a' * 10 ** 6)] * 10 ** 5) | join }}", bytes);
  ExpectTooMuch("{{ ('\n' * 10 ** 6) | indent(10 ** 6, blank=true) }}", bytes);
  ExpectTooMuch("{{ 'a' | indent(10 ** 15) }}", bytes);
  ExpectTooMuch("{{ [1] | tojson(indent=10 ** 15) }}", bytes);
  ExpectTooMuch("{{ ([1] * 10 ** 4) | tojson(indent=10 ** 6) }}", bytes);
  ExpectTooMuch("{{ ('a ' * 10 ** 7).split() }}", bytes);
}

// Ten lists of ten lists of ...: short in memory, endless in print.
TEST(ChatTemplateBounds, SharedValuesEnd) {
  const std::string shared =
      "{% set n = namespace(s=1) %}{% for i in range(40) %}{% set n.s = [n.s, n.s] %}{% endfor %}";
  ExpectTooMuch(shared + "{{ n.s }}", "too many");
  ExpectTooMuch(shared + "{{ n.s | tojson }}", "too many");
  ExpectTooMuch(shared +
                    "{% set o = namespace(s=1) %}{% for i in range(40) %}"
                    "{% set o.s = [o.s, o.s] %}{% endfor %}{{ n.s == o.s }}",
                "too many steps");
  ExpectTooMuch(
      "{% set n = namespace(s=1) %}{% for i in range(9999) %}{% set n.s = [n.s] %}"
      "{% endfor %}",
      "nested too deep");
  ExpectTooMuch("{% set n = namespace() %}{% set n.n = n %}{{ n }}",
                "nests its evaluation too deep");
  ExpectTooMuch("{% set n = namespace() %}{% set n.n = [n] %}{{ n.n == [n] }}{{ n }}", "too deep");
}

TEST(ChatTemplateBounds, OutputEnds) {
  ExpectTooMuch("{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}", "too many bytes");
  ChatTemplateLimits limits;
  limits.output_bytes = 10;
  EXPECT_TRUE(RenderSource("{{ 'a' * 10 }}", {}, limits).ok());
  EXPECT_FALSE(RenderSource("{{ 'a' * 11 }}", {}, limits).ok());
}

// A search that is not linear would take hours here.
TEST(ChatTemplateBounds, SearchesAreLinear) {
  Json variables;
  variables["text"] = std::string(4'000'000, 'a');
  variables["part"] = std::string(2'000'000, 'a') + "b";
  for (const char* source :
       {"{{ part in text }}", "{{ text.find(part) }}", "{{ text.rfind(part) }}",
        "{{ text.split(part) | length }}", "{{ text.rsplit(part) | length }}",
        "{{ text.replace(part, '') | length }}", "{{ text.count(part) }}"}) {
    EXPECT_TRUE(RenderSource(source, variables).ok()) << source;
  }
  ExpectTooMuch("{{ text.strip(part) }}", "too many steps", variables);
}

TEST(ChatTemplateBounds, TemplatesAndMessagesHaveLimits) {
  EXPECT_EQ(ChatTemplate::Parse(std::string(1'000'000, 'a')).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(ChatTemplate::Parse("\xff").status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(RenderSource("{{ x }}", {{"x", "\xC0\x80"}}).ok());
  EXPECT_FALSE(RenderSource("{{ x }}", {{"x", uint64_t{1} << 63}}).ok());
  Json deep = 1;
  for (int i = 0; i < 200; ++i) deep = Json::array({std::move(deep)});
  ExpectTooMuch("{{ x }}", "nested too deep", {{"x", deep}});
  // Deeper than a stack could copy.
  RenderRequest request;
  request.messages = Json::parse(R"([{"role": "user", "content": )" + Repeated("[", 300'000) +
                                 Repeated("]", 300'000) + "}]");
  const auto chat = ChatTemplate::Parse("{{ messages }}");
  EXPECT_EQ(chat->Render(request).status().code(), StatusCode::kResourceExhausted);
}

// Every prefix of a template ends in a status or a text, as does every template with one byte
// changed.
TEST(ChatTemplateBounds, BrokenTemplatesOnlyFail) {
  const std::string source = ReadTestFile("templates/tools_by_hand.jinja");
  const Json conversations = Json::parse(ReadTestFile("goldens/conversations.json"));
  RenderRequest request;
  request.messages = conversations["call"]["messages"];
  request.tools = conversations["call"]["tools"];
  const auto try_render = [&](std::string broken) {
    const auto chat = ChatTemplate::Parse(std::move(broken));
    if (chat.ok()) (void)chat->Render(request);
  };
  uint32_t random = 1;
  for (size_t i = 0; i < source.size(); ++i) {
    try_render(source.substr(0, i));
    std::string changed = source;
    random = random * 1664525 + 1013904223;
    changed[i] = "{}%#()[]|.,:'\"-+*~=x1 \n"[(random >> 16) % 23];
    try_render(changed);
  }
}

}  // namespace
}  // namespace octet::chat
