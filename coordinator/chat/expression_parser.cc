#include "coordinator/chat/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "coordinator/chat/error.h"

namespace octet::chat {
namespace {

std::optional<Operator> ComparisonOf(const Token& token) {
  if (token.kind != TokenKind::kOperator) return {};
  if (token.text == "==") return Operator::kEqual;
  if (token.text == "!=") return Operator::kNotEqual;
  if (token.text == "<") return Operator::kLess;
  if (token.text == "<=") return Operator::kLessEqual;
  if (token.text == ">") return Operator::kGreater;
  if (token.text == ">=") return Operator::kGreaterEqual;
  return {};
}

bool IsOneOf(const std::string& text, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return text == name; });
}

}  // namespace

Token TokenStream::Take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::SkipName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Take();
  return true;
}

bool TokenStream::SkipOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Take();
  return true;
}

void TokenStream::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailExpected("`" + std::string(op) + "`");
}

std::string TokenStream::ExpectName() {
  if (current().kind != TokenKind::kName) FailExpected("a name");
  return Take().text;
}

void TokenStream::Expect(TokenKind kind, const char* what) {
  if (current().kind != kind) FailExpected(what);
  Take();
}

void TokenStream::FailExpected(const std::string& what) const {
  Fail(current().line, "found " + current().Describe() + ", expected " + what);
}

void TokenStream::Fail(int32_t line, const std::string& what) const {
  Refuse("line " + std::to_string(line) + ": " + what);
}

void TokenStream::FailTooDeep() const {
  RefuseTooMuch("line " + std::to_string(current().line) + ": the template is nested too deep",
                depth_max_);
}

std::unique_ptr<Expression> ExpressionParser::Make(ExpressionKind kind) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = stream_.current().line;
  return node;
}

ExpressionPtr ExpressionParser::Done(std::unique_ptr<Expression> node) const {
  for (const auto& operand : node->operands) {
    if (operand) node->depth = std::max(node->depth, operand->depth + 1);
  }
  for (const auto& [name, operand] : node->named) {
    node->depth = std::max(node->depth, operand->depth + 1);
  }
  if (node->depth > stream_.depth_max()) stream_.FailTooDeep();
  return node;
}

ExpressionPtr ExpressionParser::Binary(ExpressionKind kind, Operator op, ExpressionPtr a,
                                       ExpressionPtr b) const {
  auto node = Make(kind);
  node->op = op;
  node->operands.push_back(std::move(a));
  node->operands.push_back(std::move(b));
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::Parse() {
  TokenStream::Nested nested(&stream_);
  ExpressionPtr value = ParseOr();
  while (stream_.SkipName("if")) {
    auto node = Make(ExpressionKind::kConditional);
    node->operands.push_back(std::move(value));
    node->operands.push_back(ParseOr());
    node->operands.push_back(stream_.SkipName("else") ? Parse() : nullptr);
    value = Done(std::move(node));
  }
  return value;
}

ExpressionPtr ExpressionParser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (stream_.SkipName("or")) {
    left = Binary(ExpressionKind::kOr, Operator::kNone, std::move(left), ParseAnd());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (stream_.SkipName("and")) {
    left = Binary(ExpressionKind::kAnd, Operator::kNone, std::move(left), ParseNot());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseNot() {
  TokenStream::Nested nested(&stream_);
  if (!stream_.current().IsName("not")) return ParseCompare();
  auto node = Make(ExpressionKind::kNot);
  stream_.Take();
  node->operands.push_back(ParseNot());
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseCompare() {
  auto node = Make(ExpressionKind::kCompare);
  node->operands.push_back(ParseSum());
  while (true) {
    if (const auto op = ComparisonOf(stream_.current())) {
      stream_.Take();
      node->comparisons.push_back(*op);
    } else if (stream_.SkipName("in")) {
      node->comparisons.push_back(Operator::kIn);
    } else if (stream_.current().IsName("not") && stream_.ahead().IsName("in")) {
      stream_.Take();
      stream_.Take();
      node->comparisons.push_back(Operator::kNotIn);
    } else {
      break;
    }
    node->operands.push_back(ParseSum());
  }
  if (node->comparisons.empty()) return std::move(node->operands[0]);
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseSum() {
  ExpressionPtr left = ParseConcat();
  while (true) {
    const Operator op = stream_.current().IsOperator("+")   ? Operator::kAdd
                        : stream_.current().IsOperator("-") ? Operator::kSubtract
                                                            : Operator::kNone;
    if (op == Operator::kNone) return left;
    stream_.Take();
    left = Binary(ExpressionKind::kArithmetic, op, std::move(left), ParseConcat());
  }
}

ExpressionPtr ExpressionParser::ParseConcat() {
  ExpressionPtr first = ParseProduct();
  if (!stream_.current().IsOperator("~")) return first;
  auto node = Make(ExpressionKind::kConcat);
  node->operands.push_back(std::move(first));
  while (stream_.SkipOperator("~")) node->operands.push_back(ParseProduct());
  return Done(std::move(node));
}

ExpressionPtr ExpressionParser::ParseProduct() {
  ExpressionPtr left = ParsePower();
  while (true) {
    const Token& token = stream_.current();
    const Operator op = token.IsOperator("*")    ? Operator::kMultiply
                        : token.IsOperator("/")  ? Operator::kDivide
                        : token.IsOperator("//") ? Operator::kFloorDivide
                        : token.IsOperator("%")  ? Operator::kModulo
                                                 : Operator::kNone;
    if (op == Operator::kNone) return left;
    stream_.Take();
    left = Binary(ExpressionKind::kArithmetic, op, std::move(left), ParsePower());
  }
}

ExpressionPtr ExpressionParser::ParsePower() {
  ExpressionPtr left = ParseUnary(true);
  while (stream_.SkipOperator("**")) {
    left = Binary(ExpressionKind::kArithmetic, Operator::kPower, std::move(left), ParseUnary(true));
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseUnary(bool with_filters) {
  TokenStream::Nested nested(&stream_);
  ExpressionPtr result;
  if (stream_.current().IsOperator("-") || stream_.current().IsOperator("+")) {
    auto node =
        Make(stream_.current().IsOperator("-") ? ExpressionKind::kNegate : ExpressionKind::kPlus);
    stream_.Take();
    node->operands.push_back(ParseUnary(false));
    result = Done(std::move(node));
  } else {
    result = ParsePrimary();
  }
  result = ParsePostfix(std::move(result));
  return with_filters ? ParseFiltersAndTests(std::move(result)) : std::move(result);
}

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
