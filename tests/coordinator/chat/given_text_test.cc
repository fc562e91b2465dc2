// Which bytes of a rendered text are said to have come with the request.
#include <gtest/gtest.h>

#include "tests/coordinator/chat/goldens.h"

namespace octet::chat {
namespace {

// The text, and below each byte a `^` if it is given.
std::string Shown(const Result<MarkedText>& rendered) {
  if (!rendered.ok()) return rendered.status().message();
  std::string marks(rendered->text.size(), '.');
  for (const ByteSpans::Span& span : rendered->given.spans()) {
    for (size_t i = span.begin; i < span.end; ++i) marks[i] = '^';
  }
  return rendered->text + "\n" + marks;
}

std::string ShownSource(const std::string& source) {
  const auto chat = ChatTemplate::Parse(source);
  if (!chat.ok()) return chat.status().message();
  const Json variables = {{"x", " ab c"}, {"l", {"p", "q"}}, {"d", {{"k", "v"}}}, {"n", 7}};
  return Shown(chat->Render({.messages = Json::array(), .extra = variables, .now = GoldenTime()}));
}

// What moves bytes keeps the mark of each.
TEST(GivenText, IsFollowedByteByByte) {
  EXPECT_EQ(ShownSource("<{{ x }}>"), "< ab c>\n.^^^^^.");
  EXPECT_EQ(ShownSource("{{ '<' + x + '>' }}"), "< ab c>\n.^^^^^.");
  EXPECT_EQ(ShownSource("{{ '<' ~ x ~ n }}"), "< ab c7\n.^^^^^.");
  EXPECT_EQ(ShownSource("<{{ x | trim }}>"), "<ab c>\n.^^^^.");
  EXPECT_EQ(ShownSource("{{ ('-' + x).strip('- ') }}"), "ab c\n^^^^");
  EXPECT_EQ(ShownSource("{{ ('<' + x)[:3] }}"), "< a\n.^^");
  EXPECT_EQ(ShownSource("{{ ('<' + x)[0] }}{{ ('<' + x)[2] }}"), "<a\n.^");
  EXPECT_EQ(ShownSource("{{ ('<' + x)[::-1] }}"), "c ba <\n^^^^^.");
  EXPECT_EQ(ShownSource("{{ ('<' + x) | replace('a', '-') }}"), "< -b c\n.^.^^^");
  EXPECT_EQ(ShownSource("{{ '<->'.replace('-', x) }}"), "< ab c>\n.^^^^^.");
  EXPECT_EQ(ShownSource("{% for p in (x + '!').split(' ') %}[{{ p }}]{% endfor %}"),
            "[][ab][c!]\n...^^..^..");
  EXPECT_EQ(ShownSource("{{ l | join('-') }}{{ '+'.join(l) }}"), "p-qp+q\n^.^^.^");
  EXPECT_EQ(ShownSource("{{ x * 2 }}{{ 'a' * 2 }}"), " ab c ab caa\n^^^^^^^^^^..");
  EXPECT_EQ(ShownSource("{% for c in 'a' + l[0] %}{{ c }}-{% endfor %}"), "a-p-\n..^.");
  EXPECT_EQ(ShownSource("{{ ('-' + x).removeprefix('-') }}"), " ab c\n^^^^^");
  EXPECT_EQ(ShownSource("{{ ('a\n' + l[0]) | indent(1) }}"), "a\n p\n...^");
  EXPECT_EQ(ShownSource("{% for k in d %}{{ k }}={{ d[k] }}{% endfor %}"), "k=v\n^.^");
  EXPECT_EQ(ShownSource("{{ u | default(l[1]) }}{{ u | default('-') }}"), "q-\n^.");
}

TEST(GivenText, IsFollowedThroughBlocksAndMacros) {
  EXPECT_EQ(ShownSource("{% set t %}<{{ l[0] }}>{% endset %}{{ t }}"), "<p>\n.^.");
  EXPECT_EQ(ShownSource("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(l[0]) }}{{ m('-') }}"),
            "<p><->\n.^....");
  EXPECT_EQ(ShownSource("{% filter trim %} <{{ l[0] }}> {% endfilter %}"), "<p>\n.^.");
  EXPECT_EQ(ShownSource("{% set n = namespace(t='<') %}{% for i in l %}{% set n.t = n.t + i %}"
                        "{% endfor %}{{ n.t }}"),
            "<pq\n.^^");
}

// What leaves no byte where it was makes all of it given; so does printing inside of something.
TEST(GivenText, IsAllOfATextThatIsChangedAsAWhole) {
  EXPECT_EQ(ShownSource("{{ ('<' + l[0]) | upper }}{{ '<a' | upper }}"), "<P<A\n^^..");
  EXPECT_EQ(ShownSource("{{ ('<' + l[0]).title() }}"), "<P\n^^");
  EXPECT_EQ(ShownSource("{{ ['<' + l[0], '-'] }}"), "['<p', '-']\n.^^^^......");
  EXPECT_EQ(ShownSource("{{ {'a': '<' + l[0], 'b': '-'} | tojson }}"),
            "{\"a\": \"<p\", \"b\": \"-\"}\n......^^^^...........");
  EXPECT_EQ(ShownSource("{{ d | tojson }}"), "{\"k\": \"v\"}\n.^^^..^^^.");
  EXPECT_EQ(ShownSource("{{ [1, 2] | tojson(separators=(l[0], '')) }}"), "[1p2]\n^^^^^");
  EXPECT_EQ(ShownSource("{{ strftime_now(l[0] + '%Y') }}{{ strftime_now('%Y') }}"),
            "p20242024\n^^^^^....");
}

// The model's own words, and numbers, are nobody's text.
TEST(GivenText, IsNoneOfRolesAndTokensAndNumbers) {
  const auto chat = ChatTemplate::Parse(
      "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{{ tools }}{{ n }}");
  const Json messages = Json::parse(R"([{"role": "user", "content": "user"},
                                        {"role": "im_end", "content": ""}])");
  EXPECT_EQ(Shown(chat->Render({.messages = messages, .tools = {"t"}, .extra = {{"n", 7}}})),
            "<|user|>user<|im_end|>['t']7\n........^^^^..^^^^^^...^^^..");
}

}  // namespace
}  // namespace octet::chat
