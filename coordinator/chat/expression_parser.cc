#include "coordinator/chat/expression_parser.h"

#include <algorithm>
#include <optional>

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

}  // namespace

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

}  // namespace octet::chat
