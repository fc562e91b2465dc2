// The expressions of a template.
#include "coordinator/chat/error.h"
#include "coordinator/chat/interpreter.h"
#include "coordinator/chat/print.h"

namespace octet::chat {

Value Interpreter::Evaluate(const Expression& node) {
  Budget::Nested nested(&budget_);
  budget_.Step();
  line_ = node.line;
  switch (node.kind) {
    case ExpressionKind::kConstant:
      return node.value;
    case ExpressionKind::kName:
      return EvaluateName(node.text);
    case ExpressionKind::kAnd: {
      Value left = Evaluate(*node.operands[0]);
      return Truth(left) ? Evaluate(*node.operands[1]) : left;
    }
    case ExpressionKind::kOr: {
      Value left = Evaluate(*node.operands[0]);
      return Truth(left) ? left : Evaluate(*node.operands[1]);
    }
    case ExpressionKind::kNot:
      return Value::Bool(!Truth(Evaluate(*node.operands[0])));
    case ExpressionKind::kConditional:
      return EvaluateConditional(node);
    case ExpressionKind::kCompare:
      return EvaluateCompare(node);
    case ExpressionKind::kConcat:
      return EvaluateConcat(node);
    case ExpressionKind::kCall:
      return Call(node);
    default:
      return EvaluateOperation(node);
  }
}

Value Interpreter::EvaluateOperation(const Expression& node) {
  switch (node.kind) {
    case ExpressionKind::kList:
      return Value::List(EvaluateAll(node, 0));
    case ExpressionKind::kTuple:
      return Value::Tuple(EvaluateAll(node, 0));
    case ExpressionKind::kDict:
      return EvaluateDict(node);
    case ExpressionKind::kAttribute:
      return Attribute(Evaluate(*node.operands[0]), node.text, &budget_);
    case ExpressionKind::kSubscript: {
      const Value object = Evaluate(*node.operands[0]);
      return Subscript(object, Evaluate(*node.operands[1]), &budget_);
    }
    case ExpressionKind::kSlice: {
      const Value object = Evaluate(*node.operands[0]);
      const Value start = EvaluateOptional(node.operands[1]);
      const Value stop = EvaluateOptional(node.operands[2]);
      return Slice(object, start, stop, EvaluateOptional(node.operands[3]), &budget_);
    }
    case ExpressionKind::kArithmetic: {
      const Value left = Evaluate(*node.operands[0]);
      return Arithmetic(node.op, left, Evaluate(*node.operands[1]), &budget_);
    }
    case ExpressionKind::kNegate:
      return Negate(Evaluate(*node.operands[0]));
    case ExpressionKind::kPlus: {
      const Value value = Evaluate(*node.operands[0]);
      return Arithmetic(Operator::kAdd, Value::Int(0), value, &budget_);
    }
    case ExpressionKind::kFilter: {
      const Value subject = node.operands[0] ? Evaluate(*node.operands[0]) : *filtered_;
      const Arguments arguments = EvaluateArguments(node);
      line_ = node.line;
      return node.filter(subject, arguments, &budget_);
    }
    default: {
      const Value subject = Evaluate(*node.operands[0]);
      const Arguments arguments = EvaluateArguments(node);
      line_ = node.line;
      return Value::Bool(node.test(subject, arguments, &budget_));
    }
  }
}

Value Interpreter::EvaluateOptional(const ExpressionPtr& node) {
  return node ? Evaluate(*node) : Value::None();
}

Value Interpreter::EvaluateName(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->outside.get()) {
    budget_.Step();
    const auto found = scope->names.find(name);
    if (found != scope->names.end()) return found->second;
  }
  return Value::Undefined("'" + name.substr(0, 60) + "' is undefined");
}

Value Interpreter::EvaluateDict(const Expression& node) {
  std::vector<std::pair<Value, Value>> pairs;
  for (size_t i = 0; i < node.operands.size(); i += 2) {
    const Value key = Evaluate(*node.operands[i]);
    RequireHashable(key);
    const Value item = Evaluate(*node.operands[i + 1]);
    bool is_new = true;
    for (auto& pair : pairs) {
      if (!Equal(pair.first, key, &budget_)) continue;
      pair.second = item;
      is_new = false;
    }
    if (is_new) pairs.emplace_back(key, item);
  }
  budget_.MakeItems(static_cast<int64_t>(pairs.size()));
  return Value::Dict(std::move(pairs));
}

Value Interpreter::EvaluateCompare(const Expression& node) {
  Value left = Evaluate(*node.operands[0]);
  for (size_t i = 0; i < node.comparisons.size(); ++i) {
    Value right = Evaluate(*node.operands[i + 1]);
    if (!Compare(node.comparisons[i], left, right, &budget_)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::EvaluateConcat(const Expression& node) {
  MarkedText text;
  for (const auto& operand : node.operands) {
    const Value value = Evaluate(*operand);
    const MarkedText part = Str(value, &budget_);
    budget_.Make(part.cost_bytes());
    text.Append(part);
  }
  return Value::String(std::move(text));
}

Value Interpreter::EvaluateConditional(const Expression& node) {
  if (Truth(Evaluate(*node.operands[1]))) return Evaluate(*node.operands[0]);
  if (node.operands[2]) return Evaluate(*node.operands[2]);
  return Value::Undefined("the inline if-expression evaluated to false and no else was given");
}

std::vector<Value> Interpreter::EvaluateAll(const Expression& node, size_t from) {
  std::vector<Value> values;
  for (size_t i = from; i < node.operands.size(); ++i) {
    values.push_back(Evaluate(*node.operands[i]));
  }
  budget_.MakeItems(static_cast<int64_t>(values.size()));
  return values;
}

Arguments Interpreter::EvaluateArguments(const Expression& node) {
  Arguments arguments;
  arguments.positional = EvaluateAll(node, 1);
  for (const auto& [name, value] : node.named) arguments.named.emplace_back(name, Evaluate(*value));
  return arguments;
}

Value Interpreter::ApplyFilters(const ExpressionPtr& filters, Value subject) {
  if (!filters) return subject;
  const Value* const before = std::exchange(filtered_, &subject);
  Value result = Evaluate(*filters);
  filtered_ = before;
  return result;
}

}  // namespace octet::chat
