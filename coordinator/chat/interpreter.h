// Runs a parsed template once. Owns the scopes, the namespaces and the output of that one
// rendering; one thread, thrown away afterwards. It knows nothing of JSON, files or chat: messages
// are just names that somebody defined.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/chat/ast.h"
#include "coordinator/chat/budget.h"

namespace octet::chat {

// The names of one block. Names it does not have are looked up outside.
struct Scope {
  std::unordered_map<std::string_view, Value> names;  // the keys live in the tree or in a caller
  std::shared_ptr<Scope> outside;
};

class Interpreter {
 public:
  Interpreter(const ChatTemplateLimits& limits, const std::tm& now);

  // `name` outlives this object.
  void Define(std::string_view name, Value value);
  // Throws TemplateError. At most once.
  MarkedText Run(const Program& program);
  // The line reached when it threw.
  int32_t line() const { return line_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class InsideScope;

  Flow Execute(const Program& body);
  Flow Execute(const Statement& statement);
  Flow ExecuteFor(const Statement& loop);
  std::vector<Value> LoopItems(const Statement& loop);
  MarkedText Capture(const Program& body, Flow* flow);
  void Write(const MarkedText& text);
  void Assign(const Expression& target, const Value& value);
  void AssignMember(const Expression& target, const Value& value);

  Value Evaluate(const Expression& node);
  Value EvaluateOperation(const Expression& node);
  Value EvaluateOptional(const ExpressionPtr& node);
  Value EvaluateName(const std::string& name);
  Value EvaluateDict(const Expression& node);
  Value EvaluateCompare(const Expression& node);
  Value EvaluateConcat(const Expression& node);
  Value EvaluateConditional(const Expression& node);
  std::vector<Value> EvaluateAll(const Expression& node, size_t from);
  Arguments EvaluateArguments(const Expression& node);
  Value ApplyFilters(const ExpressionPtr& filters, Value subject);

  Value Call(const Expression& node);
  Value CallFunction(std::string_view name, const Arguments& arguments);
  Value CallMacro(const Value& macro, const Arguments& arguments);
  Value CallNamespace(const Arguments& arguments);
  Value CallRange(const Arguments& arguments);
  Value CallLoopCycle(const LoopBox& loop, const Arguments& arguments);

  Budget budget_;
  std::tm now_;
  // Before the scopes: values in them point here, and are destroyed first.
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  std::shared_ptr<Scope> scope_;
  const Value* filtered_ = nullptr;  // the text that a filter block's filters begin with
  MarkedText* out_ = nullptr;
  int32_t line_ = 1;
  int32_t calls_ = 0;
  int32_t loops_ = 0;
};

}  // namespace octet::chat
