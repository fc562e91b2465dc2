// What the operators of an expression connect: literals, names, calls, subscripts, filters and
// tests.
#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "coordinator/chat/expression_parser.h"

namespace octet::chat {
namespace {

bool IsOneOf(const std::string& text, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return text == name; });
}

}  // namespace

ExpressionPtr ExpressionParser::ParsePrimary() {
  const Token& token = stream_.current();
  if (token.IsOperator("(")) return ParseParentheses();
  if (token.IsOperator("[")) return ParseList();
  if (token.IsOperator("{")) return ParseDict();
  switch (token.kind) {
    case TokenKind::kName:
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseConstant(stream_.Take());
    default:
      stream_.FailExpected("an expression");
  }
}

ExpressionPtr ExpressionParser::ParseConstant(Token token) {
  auto node = Make(ExpressionKind::kConstant);
  node->line = token.line;
  if (token.kind == TokenKind::kName) {
    if (IsOneOf(token.text, {"true", "True", "false", "False"})) {
      node->value = Value::Bool(token.text[0] == 't' || token.text[0] == 'T');
    } else if (IsOneOf(token.text, {"none", "None"})) {
      node->value = Value::None();
    } else {
      node->kind = ExpressionKind::kName;
      node->text = token.text;
    }
  } else if (token.kind == TokenKind::kString) {
    while (stream_.current().kind == TokenKind::kString) token.text += stream_.Take().text;
    node->value = Value::String(token.text);
  } else if (token.kind == TokenKind::kInteger) {
    int64_t value = 0;
    const char* end = token.text.data() + token.text.size();
    if (std::from_chars(token.text.data(), end, value).ec != std::errc()) {
      stream_.Fail(token.line, "found " + token.Describe() + ", expected an integer of 64 bits");
    }
    node->value = Value::Int(value);
  } else {
    node->value = Value::Float(std::strtod(token.text.c_str(), nullptr));
  }
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseParentheses() {
  stream_.ExpectOperator("(");
  ExpressionPtr inner;
  if (stream_.current().IsOperator(")")) {
    inner = Done(Make(ExpressionKind::kTuple));
  } else {
    inner = ParseTuple(true);
  }
  stream_.ExpectOperator(")");
  return inner;
}

ExpressionPtr ExpressionParser::ParseTuple(bool with_conditional) {
  ExpressionPtr first = with_conditional ? Parse() : ParseOr();
  if (!stream_.current().IsOperator(",")) return first;
  auto node = Make(ExpressionKind::kTuple);
  node->operands.push_back(std::move(first));
  while (stream_.SkipOperator(",")) {
    const Token& token = stream_.current();
    if (token.kind == TokenKind::kPrintEnd || token.kind == TokenKind::kBlockEnd ||
        token.IsOperator(")")) {
      break;
    }
    node->operands.push_back(with_conditional ? Parse() : ParseOr());
  }
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseList() {
  auto node = Make(ExpressionKind::kList);
  stream_.ExpectOperator("[");
  while (!stream_.current().IsOperator("]")) {
    if (!node->operands.empty()) stream_.ExpectOperator(",");
    if (stream_.current().IsOperator("]")) break;
    node->operands.push_back(Parse());
  }
  stream_.ExpectOperator("]");
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseDict() {
  auto node = Make(ExpressionKind::kDict);
  stream_.ExpectOperator("{");
  while (!stream_.current().IsOperator("}")) {
    if (!node->operands.empty()) stream_.ExpectOperator(",");
    if (stream_.current().IsOperator("}")) break;
    node->operands.push_back(Parse());
    stream_.ExpectOperator(":");
    node->operands.push_back(Parse());
  }
  stream_.ExpectOperator("}");
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParsePostfix(ExpressionPtr node) {
  while (true) {
    if (stream_.current().IsOperator(".")) {
      node = ParseDot(std::move(node));
    } else if (stream_.current().IsOperator("[")) {
      node = ParseBrackets(std::move(node));
    } else if (stream_.current().IsOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::ParseDot(ExpressionPtr object) {
  stream_.ExpectOperator(".");
  auto node = Make(ExpressionKind::kAttribute);
  node->operands.push_back(std::move(object));
  if (stream_.current().kind == TokenKind::kName) {
    node->text = stream_.Take().text;
    return Done(std::move(node));
  }
  if (stream_.current().kind != TokenKind::kInteger) stream_.FailExpected("a name or a number");
  node->kind = ExpressionKind::kSubscript;
  node->operands.push_back(ParseConstant(stream_.Take()));
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseBrackets(ExpressionPtr object) {
  stream_.ExpectOperator("[");
  auto node = Make(ExpressionKind::kSubscript);
  node->operands.push_back(std::move(object));
  if (!stream_.current().IsOperator(":")) node->operands.push_back(Parse());
  if (stream_.current().IsOperator(":")) {
    node->kind = ExpressionKind::kSlice;
    node->operands.resize(2);
    while (node->operands.size() < 4 && stream_.SkipOperator(":")) {
      const Token& token = stream_.current();
      const bool omitted = token.IsOperator(":") || token.IsOperator("]");
      node->operands.push_back(omitted ? nullptr : Parse());
    }
    node->operands.resize(4);
  }
  stream_.ExpectOperator("]");
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseCall(ExpressionPtr callee) {
  auto node = Make(ExpressionKind::kCall);
  node->operands.push_back(std::move(callee));
  ParseArguments(node.get());
  return Done(std::move(node));
}

void ExpressionParser::ParseArguments(Expression* node) {
  stream_.ExpectOperator("(");
  bool first = true;
  while (!stream_.current().IsOperator(")")) {
    if (!first) stream_.ExpectOperator(",");
    first = false;
    if (stream_.current().IsOperator(")")) break;
    if (stream_.current().IsOperator("*") || stream_.current().IsOperator("**")) {
      stream_.FailExpected("an argument; argument lists by * and ** are not supported");
    }
    if (stream_.current().kind == TokenKind::kName && stream_.ahead().IsOperator("=")) {
      std::string name = stream_.Take().text;
      stream_.Take();
      node->named.emplace_back(std::move(name), Parse());
    } else if (node->named.empty()) {
      node->operands.push_back(Parse());
    } else {
      stream_.FailExpected("another argument by name");
    }
  }
  stream_.ExpectOperator(")");
}

ExpressionPtr ExpressionParser::ParseFiltersAndTests(ExpressionPtr node) {
  while (true) {
    if (stream_.SkipOperator("|")) {
      node = ParseFilters(std::move(node));
    } else if (stream_.SkipName("is")) {
      node = ParseTest(std::move(node));
    } else if (stream_.current().IsOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::ParseFilters(ExpressionPtr subject) {
  do {
    auto node = Make(ExpressionKind::kFilter);
    node->text = stream_.ExpectName();
    node->filter = FindFilter(node->text);
    if (node->filter == nullptr) {
      stream_.Fail(node->line, "the filter `" + node->text + "` is not supported");
    }
    node->operands.push_back(std::move(subject));
    if (stream_.current().IsOperator("(")) ParseArguments(node.get());
    subject = Done(std::move(node));
  } while (stream_.SkipOperator("|"));
  return subject;
}

ExpressionPtr ExpressionParser::ParseTest(ExpressionPtr subject) {
  const bool negated = stream_.SkipName("not");
  auto node = Make(ExpressionKind::kTest);
  node->text = stream_.ExpectName();
  node->test = FindTest(node->text);
  if (node->test == nullptr) {
    stream_.Fail(node->line, "the test `" + node->text + "` is not supported");
  }
  node->operands.push_back(std::move(subject));
  const Token& token = stream_.current();
  if (token.IsOperator("(")) {
    ParseArguments(node.get());
  } else if (token.IsName("is")) {
    stream_.FailExpected("no second test of the same value");
  } else if ((token.kind == TokenKind::kName && !IsOneOf(token.text, {"else", "or", "and"})) ||
             token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
             token.kind == TokenKind::kFloat || token.IsOperator("[") || token.IsOperator("{")) {
    node->operands.push_back(ParsePostfix(ParsePrimary()));
  }
  ExpressionPtr test = Done(std::move(node));
  if (!negated) return test;
  auto inverse = Make(ExpressionKind::kNot);
  inverse->operands.push_back(std::move(test));
  return Done(std::move(inverse));
}

ExpressionPtr ExpressionParser::ParseTarget(bool allow_member) {
  const auto parse_one = [this, allow_member] {
    auto node = Make(ExpressionKind::kName);
    node->text = stream_.ExpectName();
    if (IsOneOf(node->text, {"true", "false", "none", "True", "False", "None"})) {
      stream_.Fail(node->line, "found `" + node->text + "`, expected a name to assign to");
    }
    if (!allow_member || !stream_.SkipOperator(".")) return Done(std::move(node));
    auto member = Make(ExpressionKind::kAttribute);
    member->operands.push_back(Done(std::move(node)));
    member->text = stream_.ExpectName();
    return Done(std::move(member));
  };
  const bool parenthesized = stream_.SkipOperator("(");
  ExpressionPtr first = parse_one();
  if (stream_.current().IsOperator(",")) {
    auto node = Make(ExpressionKind::kTuple);
    node->operands.push_back(std::move(first));
    while (stream_.SkipOperator(",")) {
      if (stream_.current().IsOperator(")") || stream_.current().IsName("in")) break;
      node->operands.push_back(parse_one());
    }
    first = Done(std::move(node));
  }
  if (parenthesized) stream_.ExpectOperator(")");
  return first;
}

}  // namespace octet::chat
