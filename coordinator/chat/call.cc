// Calls: of macros, of methods and of the global functions.
#include "coordinator/chat/error.h"
#include "coordinator/chat/interpreter.h"
#include "coordinator/chat/print.h"
#include "coordinator/chat/scope_guard.h"

namespace octet::chat {

Value Interpreter::Call(const Expression& node) {
  const Value callee = Evaluate(*node.operands[0]);
  const Arguments arguments = EvaluateArguments(node);
  line_ = node.line;
  if (callee.Is(Kind::kMacro)) return CallMacro(callee, arguments);
  if (callee.Is(Kind::kFunction)) return CallFunction(callee.text(), arguments);
  RequireDefined(callee);
  if (!callee.Is(Kind::kMethod)) Refuse("'" + callee.TypeName() + "' object is not callable");
  const MethodBox& method = callee.method();
  if (method.self.Is(Kind::kLoop)) return CallLoopCycle(method.self.loop(), arguments);
  return CallMethod(method.self, method.name, arguments, &budget_);
}

Value Interpreter::CallFunction(std::string_view name, const Arguments& arguments) {
  if (name == "namespace") return CallNamespace(arguments);
  if (name == "range") return CallRange(arguments);
  if (name == "dict") {
    if (!arguments.positional.empty()) Refuse("dict takes arguments by name only");
    std::vector<std::pair<Value, Value>> pairs;
    for (const auto& [key, item] : arguments.named) pairs.emplace_back(Value::String(key), item);
    return Value::Dict(std::move(pairs));
  }
  if (name == "strftime_now") {
    const auto bound = arguments.Bind(name, {"format"});
    if (bound[0] == nullptr) Refuse("strftime_now takes a format");
    const MarkedText& format = MarkedArgument(*bound[0], name);
    return Value::String(MarkedText::Derived(FormatTime(format.text, now_), format));
  }
  const auto bound = arguments.Bind(name, {"message"});
  if (bound[0] == nullptr) Refuse("raise_exception takes a message");
  throw TemplateError{InvalidArgument(Str(*bound[0], &budget_).text),
                      /*in_own_words=*/true};
}

Value Interpreter::CallNamespace(const Arguments& arguments) {
  auto space = std::make_unique<Namespace>();
  const auto add = [&](const std::string& name, const Value& value) {
    if (name.empty() || name[0] == '_') Refuse("a namespace cannot hold `" + name + "`");
    space->members.emplace_back(name, value);
  };
  if (arguments.positional.size() > 1) Refuse("namespace takes one dict, and arguments by name");
  if (!arguments.positional.empty()) {
    const Value& dict = arguments.positional[0];
    if (!dict.is_dict()) Refuse("namespace takes a dict, not " + dict.TypeName());
    for (const auto& [key, item] : dict.pairs()) add(TextArgument(key, "namespace"), item);
  }
  for (const auto& [name, value] : arguments.named) add(name, value);
  budget_.MakeItems(static_cast<int64_t>(space->members.size()) + 1);
  namespaces_.push_back(std::move(space));
  return Value::OfNamespace(namespaces_.back().get());
}

Value Interpreter::CallRange(const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    Refuse("range takes one to three integers");
  }
  int64_t start = 0;
  const int64_t stop = IntegerArgument(given[given.size() > 1 ? 1 : 0], "range");
  const int64_t step = given.size() > 2 ? IntegerArgument(given[2], "range") : 1;
  if (given.size() > 1) start = IntegerArgument(given[0], "range");
  if (step == 0) Refuse("range takes a step that is not zero");
  // In 128 bits nothing overflows.
  const __int128 span =
      step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 length = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (length > kRangeItemsMax) RefuseTooMuch("a range of the template is too long", kRangeItemsMax);
  RangeBox range;
  range.start = start;
  range.stop = stop;
  range.step = step;
  range.length = static_cast<int64_t>(length);
  return Value::Range(range);
}

Value Interpreter::CallLoopCycle(const LoopBox& loop, const Arguments& arguments) {
  if (arguments.positional.empty()) Refuse("no items for cycling given");
  return arguments.positional[static_cast<size_t>(loop.index0) % arguments.positional.size()];
}

Value Interpreter::CallMacro(const Value& macro, const Arguments& arguments) {
  const Statement& definition = *macro.macro().definition;
  const std::shared_ptr<Scope> defined_in = macro.macro().scope.lock();
  if (!defined_in)
    Refuse("the macro `" + definition.text + "` is called after its block has ended");
  if (calls_ >= budget_.limits().call_depth) {
    RefuseTooMuch("the template nests too many macro calls", budget_.limits().call_depth);
  }
  std::vector<std::string_view> names;
  for (const Parameter& parameter : definition.parameters) names.push_back(parameter.name);
  const auto bound = arguments.Bind("macro `" + definition.text + "`", names);

  ++calls_;
  MarkedText text;
  MarkedText* const outside = std::exchange(out_, &text);
  {
    InsideScope inside(this, defined_in);
    for (size_t i = 0; i < names.size(); ++i) {
      const Parameter& parameter = definition.parameters[i];
      if (bound[i] != nullptr) {
        Define(names[i], *bound[i]);
      } else if (parameter.otherwise) {
        Define(names[i], Evaluate(*parameter.otherwise));
      } else {
        Define(names[i], Value::Undefined("parameter '" + parameter.name + "' was not provided"));
      }
    }
    Execute(definition.body);
  }
  out_ = outside;
  --calls_;
  return Value::String(std::move(text));
}

}  // namespace octet::chat
