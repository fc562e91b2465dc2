#include "coordinator/chat/parser.h"

#include <initializer_list>

#include "coordinator/chat/error.h"
#include "coordinator/chat/expression_parser.h"

namespace octet::chat {
namespace {

class StatementParser {
 public:
  StatementParser(std::string_view source, const ChatTemplateLimits& limits)
      : stream_(Lex(source), limits.parse_depth), expressions_(&stream_) {}

  Program Run() { return ParseBody({}); }

 private:
  using Ends = std::initializer_list<std::string_view>;

  // Up to a tag that begins with one of `ends`, whose name is then the current token; without
  // `ends` up to the end of the template.
  Program ParseBody(Ends ends) {
    TokenStream::Nested nested(&stream_);
    Program body;
    while (true) {
      const Token& token = stream_.current();
      if (token.kind == TokenKind::kData) {
        body.push_back({.kind = StatementKind::kText, .line = token.line});
        body.back().text = stream_.Take().text;
      } else if (token.kind == TokenKind::kPrintBegin) {
        body.push_back(ParsePrint());
      } else if (token.kind == TokenKind::kBlockBegin) {
        stream_.Take();
        for (const std::string_view end : ends) {
          if (stream_.current().IsName(end)) return body;
        }
        body.push_back(ParseStatement());
      } else {
        if (ends.size() != 0) stream_.FailExpected("`{% " + std::string(*ends.begin()) + " %}`");
        return body;
      }
    }
  }

  // A body up to `{% end %}`, all of it taken.
  Program ParseWholeBody(std::string_view end) {
    Expect(TokenKind::kBlockEnd);
    Program body = ParseBody({end});
    stream_.Take();
    Expect(TokenKind::kBlockEnd);
    return body;
  }

  // The same where the body belongs to no loop outside.
  Program ParseBodyOutsideLoop(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Program body = ParseWholeBody(end);
    loops_ = loops;
    return body;
  }

  void Expect(TokenKind kind) {
    stream_.Expect(kind, kind == TokenKind::kBlockEnd ? "`%}`" : "`}}`");
  }

  Statement Make(StatementKind kind) const {
    return {.kind = kind, .line = stream_.current().line};
  }

  Statement ParsePrint() {
    Statement print = Make(StatementKind::kPrint);
    stream_.Take();
    print.expression = expressions_.ParseTuple(true);
    Expect(TokenKind::kPrintEnd);
    return print;
  }

  Statement ParseStatement() {
    const Token& token = stream_.current();
    if (token.IsName("if")) return ParseIf();
    if (token.IsName("for")) return ParseFor();
    if (token.IsName("set")) return ParseSet();
    if (token.IsName("macro")) return ParseMacro();
    if (token.IsName("filter")) return ParseFilterBlock();
    if (token.IsName("break") || token.IsName("continue")) return ParseJump();
    if (token.IsName("generation")) {
      Statement scope = Make(StatementKind::kScope);
      stream_.Take();
      scope.body = ParseBodyOutsideLoop("endgeneration");
      return scope;
    }
    stream_.FailExpected(
        "one of the tags if, for, set, macro, filter, break, continue, generation, raw");
  }

  // The current token is `if` or `elif`; an elif becomes an if in the else before it. A long chain
  // of them counts as nesting.
  Statement ParseIf() {
    TokenStream::Nested nested(&stream_);
    Statement branch = Make(StatementKind::kIf);
    stream_.Take();
    branch.expression = expressions_.ParseTuple(false);
    Expect(TokenKind::kBlockEnd);
    branch.body = ParseBody({"endif", "else", "elif"});
    if (stream_.current().IsName("elif")) {
      branch.otherwise.push_back(ParseIf());
      return branch;
    }
    if (stream_.SkipName("else")) {
      Expect(TokenKind::kBlockEnd);
      branch.otherwise = ParseBody({"endif"});
    }
    stream_.Take();
    Expect(TokenKind::kBlockEnd);
    return branch;
  }

  Statement ParseFor() {
    Statement loop = Make(StatementKind::kFor);
    stream_.Take();
    loop.target = expressions_.ParseTarget(/*allow_member=*/false);
    if (!stream_.SkipName("in")) stream_.FailExpected("`in`");
    loop.expression = expressions_.ParseTuple(false);
    if (stream_.SkipName("if")) loop.condition = expressions_.Parse();
    if (stream_.current().IsName("recursive")) stream_.FailExpected("a loop without recursion");
    Expect(TokenKind::kBlockEnd);
    ++loops_;
    loop.body = ParseBody({"endfor", "else"});
    --loops_;
    if (stream_.SkipName("else")) {
      Expect(TokenKind::kBlockEnd);
      loop.otherwise = ParseBody({"endfor"});
    }
    stream_.Take();
    Expect(TokenKind::kBlockEnd);
    return loop;
  }

  Statement ParseSet() {
    Statement set = Make(StatementKind::kSet);
    stream_.Take();
    set.target = expressions_.ParseTarget(/*allow_member=*/true);
    if (stream_.SkipOperator("=")) {
      set.expression = expressions_.ParseTuple(true);
      Expect(TokenKind::kBlockEnd);
      return set;
    }
    set.kind = StatementKind::kSetBlock;
    if (stream_.SkipOperator("|")) set.expression = expressions_.ParseFilters(nullptr);
    set.body = ParseWholeBody("endset");
    return set;
  }

  Statement ParseMacro() {
    Statement macro = Make(StatementKind::kMacro);
    stream_.Take();
    macro.text = stream_.ExpectName();
    stream_.ExpectOperator("(");
    while (!stream_.current().IsOperator(")")) {
      if (!macro.parameters.empty()) stream_.ExpectOperator(",");
      Parameter parameter;
      parameter.name = stream_.ExpectName();
      if (stream_.SkipOperator("=")) {
        parameter.otherwise = expressions_.Parse();
      } else if (!macro.parameters.empty() && macro.parameters.back().otherwise) {
        stream_.FailExpected("a default for `" + parameter.name + "`, as the one before it has");
      }
      macro.parameters.push_back(std::move(parameter));
    }
    stream_.ExpectOperator(")");
    macro.body = ParseBodyOutsideLoop("endmacro");
    return macro;
  }

  Statement ParseFilterBlock() {
    Statement block = Make(StatementKind::kFilterBlock);
    stream_.Take();
    block.expression = expressions_.ParseFilters(nullptr);
    block.body = ParseWholeBody("endfilter");
    return block;
  }

  Statement ParseJump() {
    Statement jump =
        Make(stream_.current().IsName("break") ? StatementKind::kBreak : StatementKind::kContinue);
    if (loops_ == 0) stream_.FailExpected("it inside a loop");
    stream_.Take();
    Expect(TokenKind::kBlockEnd);
    return jump;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;
};

}  // namespace

Program ParseProgram(std::string_view source, const ChatTemplateLimits& limits) {
  return StatementParser(source, limits).Run();
}

}  // namespace octet::chat
