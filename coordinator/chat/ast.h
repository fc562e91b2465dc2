// The tree of a parsed template: plain data that the parser makes and the interpreter reads. It
// never changes once parsed, so any number of renderings may share it. No node is deeper than
// ChatTemplateLimits::parse_depth, which bounds the recursion of whoever walks or destroys it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/chat/builtins.h"
#include "coordinator/chat/operators.h"
#include "coordinator/chat/value.h"

namespace octet::chat {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

enum class ExpressionKind : uint8_t {
  kConstant,   // value
  kName,       // text
  kList,       // operands
  kTuple,      // operands
  kDict,       // operands: key, value, key, value, ...
  kAttribute,  // operands[0].text
  kSubscript,  // operands[0][operands[1]]
  kSlice,      // operands[0][operands[1]:operands[2]:operands[3]], each of the three may be null
  kCall,       // operands[0](operands[1...], named)
  kFilter,     // operands[0] | filter(operands[1...], named); in a filter block operands[0] is null
  kTest,       // operands[0] is test(operands[1...], named)
  kNot,        // operands[0]
  kNegate,     // operands[0]
  kPlus,       // operands[0]
  kAnd,        // operands[0], operands[1]
  kOr,         // operands[0], operands[1]
  kArithmetic,   // operands[0] op operands[1]
  kCompare,      // operands[0] comparisons[0] operands[1] comparisons[1] operands[2] ...
  kConcat,       // all operands, as strings
  kConditional,  // operands[0] if operands[1] else operands[2], which may be null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  Operator op = Operator::kNone;
  int32_t line = 0;
  int32_t depth = 1;
  std::string text;
  Value value;
  Filter filter = nullptr;
  Test test = nullptr;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<Operator> comparisons;
};

enum class StatementKind : uint8_t {
  kText,         // text
  kPrint,        // expression
  kIf,           // expression, body; otherwise
  kFor,          // target, expression, condition or null, body, otherwise
  kSet,          // target, expression
  kSetBlock,     // target, expression or null (the filters), body
  kMacro,        // text, parameters, body
  kFilterBlock,  // expression (the filters), body
  kScope,        // body: a generation block
  kBreak,
  kContinue,
};

struct Parameter {
  std::string name;
  ExpressionPtr otherwise;  // may be null
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  int32_t line = 0;
  std::string text;
  ExpressionPtr target;  // kName, kTuple of kName, or kAttribute of a kName: a namespace's member
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Parameter> parameters;
  std::vector<Statement> body;
  std::vector<Statement> otherwise;
};

using Program = std::vector<Statement>;

}  // namespace octet::chat
