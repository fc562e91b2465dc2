// The statements of a template; its expressions are in evaluate.cc, its calls in call.cc.
#include "coordinator/chat/interpreter.h"

#include "coordinator/chat/error.h"
#include "coordinator/chat/print.h"
#include "coordinator/chat/scope_guard.h"

namespace octet::chat {

Interpreter::Interpreter(const ChatTemplateLimits& limits, const std::tm& now)
    : budget_(limits), now_(now), scope_(std::make_shared<Scope>()) {
  for (const char* name : {"raise_exception", "strftime_now", "namespace", "range", "dict"}) {
    Define(name, Value::Function(name));
  }
}

void Interpreter::Define(std::string_view name, Value value) {
  scope_->names.insert_or_assign(name, std::move(value));
}

MarkedText Interpreter::Run(const Program& program) {
  // jinja2 keeps what the template sets apart from what it was given.
  InsideScope top(this, scope_);
  MarkedText out;
  out_ = &out;
  Execute(program);
  return out;
}

void Interpreter::Write(const MarkedText& text) {
  budget_.Make(text.cost_bytes());  // into the output, or into a captured text
  budget_.Print(static_cast<int64_t>(out_->text.size() + text.text.size()));
  out_->Append(text);
}

Interpreter::Flow Interpreter::Execute(const Program& body) {
  for (const Statement& statement : body) {
    const Flow flow = Execute(statement);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::Execute(const Statement& statement) {
  Budget::Nested nested(&budget_);
  budget_.Step();
  line_ = statement.line;
  Flow flow = Flow::kNext;
  switch (statement.kind) {
    case StatementKind::kText:
      Write({statement.text, {}});
      break;
    case StatementKind::kPrint:
      Write(Str(Evaluate(*statement.expression), &budget_));
      break;
    case StatementKind::kIf:
      return Execute(Truth(Evaluate(*statement.expression)) ? statement.body : statement.otherwise);
    case StatementKind::kFor:
      return ExecuteFor(statement);
    case StatementKind::kSet:
      Assign(*statement.target, Evaluate(*statement.expression));
      break;
    case StatementKind::kSetBlock: {
      Value text = Value::String(Capture(statement.body, &flow));
      Assign(*statement.target, ApplyFilters(statement.expression, std::move(text)));
      break;
    }
    case StatementKind::kMacro:
      Define(statement.text, Value::Macro(&statement, scope_));
      break;
    case StatementKind::kFilterBlock: {
      Value text = Value::String(Capture(statement.body, &flow));
      Write(Str(ApplyFilters(statement.expression, std::move(text)), &budget_));
      break;
    }
    case StatementKind::kScope: {
      InsideScope inside(this, scope_);
      return Execute(statement.body);
    }
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return flow;
}

// What a body prints, instead of printing it.
MarkedText Interpreter::Capture(const Program& body, Flow* flow) {
  MarkedText text;
  MarkedText* const outside = std::exchange(out_, &text);
  {
    InsideScope inside(this, scope_);
    *flow = Execute(body);
  }
  out_ = outside;
  return text;
}

Interpreter::Flow Interpreter::ExecuteFor(const Statement& loop) {
  auto box = std::make_shared<LoopBox>();
  box->items = LoopItems(loop);
  box->loops_outside = loops_;
  const auto count = static_cast<int64_t>(box->items.size());
  if (count == 0) {
    InsideScope inside(this, scope_);
    return Execute(loop.otherwise);
  }
  const Value loop_value = Value::Loop(box);
  ++loops_;
  for (; box->index0 < count; ++box->index0) {
    budget_.Step();
    InsideScope inside(this, scope_);
    Define("loop", loop_value);
    Assign(*loop.target, box->items[static_cast<size_t>(box->index0)]);
    if (Execute(loop.body) == Flow::kBreak) break;
  }
  --loops_;
  return Flow::kNext;
}

std::vector<Value> Interpreter::LoopItems(const Statement& loop) {
  std::vector<Value> items = Items(Evaluate(*loop.expression), &budget_);
  if (!loop.condition) return items;
  std::vector<Value> chosen;
  for (Value& item : items) {
    InsideScope inside(this, scope_);
    Assign(*loop.target, item);
    if (Truth(Evaluate(*loop.condition))) chosen.push_back(std::move(item));
  }
  return chosen;
}

void Interpreter::Assign(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::kName) return Define(target.text, value);
  if (target.kind == ExpressionKind::kAttribute) return AssignMember(target, value);
  const std::vector<Value> items = Items(value, &budget_);
  if (items.size() != target.operands.size()) {
    Refuse(std::to_string(items.size()) + " values to unpack, expected " +
           std::to_string(target.operands.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.operands[i], items[i]);
}

void Interpreter::AssignMember(const Expression& target, const Value& value) {
  const Value space = EvaluateName(target.operands[0]->text);
  if (!space.Is(Kind::kNamespace)) {
    Refuse("cannot assign attribute on non-namespace object `" + target.operands[0]->text + "`");
  }
  if (target.text[0] == '_') {
    Refuse("cannot store the underscore-prefixed attribute `" + target.text + "` on a namespace");
  }
  auto& members = space.space()->members;
  budget_.Step(static_cast<int64_t>(members.size()));
  for (auto& [name, member] : members) {
    if (name != target.text) continue;
    member = value;
    return;
  }
  budget_.MakeItems(1);
  members.emplace_back(target.text, value);
}

}  // namespace octet::chat
