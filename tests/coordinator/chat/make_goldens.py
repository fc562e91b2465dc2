#!/usr/bin/env python3
"""Makes the files under goldens/: what transformers renders with the templates under templates/.

Needs the Python packages transformers and jinja2 (the goldens in the tree are of 5.23.0 and 3.1.6). The
C++ tests read the files and never run this. A second run with the same versions writes the same bytes.

  goldens/conversations.json  {name: {messages, tools, extra}}
  goldens/templates.json      [{template, conversation, add_generation_prompt, text | error, own_words}]
  goldens/expressions.json    [{source, text | error, own_words, random}], rendered with VARIABLES

`error` is the message of raise_exception where own_words is true, else the name of Python's exception.
The templates are our own texts, with the constructs of the published templates of the families they are
named after. With --fuzz N, instead: N random expressions as one JSON list on standard output.
"""

import argparse
import copy
import datetime
import json
import pathlib
import random

import jinja2
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2024, 7, 6, 5, 4, 3)
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
FOLDER = pathlib.Path(__file__).parent

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, \"now\" or later.\nMetric, <b>always</b> & everywhere.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Ville, 都市"},
                "days": {"type": ["integer", "null"], "default": None, "minimum": 0, "maximum": 1.5e1},
                "units": {"type": "string", "enum": ["C", "F"], "default": "C"},
                "hours": {"type": "array", "items": {"type": "number"}},
            },
            "required": ["city"],
        },
    },
}
NO_ARGUMENTS = {"type": "function", "function": {"name": "ping", "description": "", "parameters": {}}}
CALL = {
    "id": "call_0001",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "exact": True, "f": 0.1}},
}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


HELLO = [message("user", "Hello!"), message("assistant", "Hi, how are you?"), message("user", "Well.\n")]
CONVERSATIONS = {
    "one": {"messages": [message("user", "What is 2 + 2?")]},
    "turns": {"messages": HELLO},
    "system": {"messages": [message("system", " Be brief. "), *HELLO]},
    "closed": {"messages": HELLO[:2]},
    "empty": {"messages": [message("system", ""), message("user", ""), message("assistant", "")]},
    "nothing": {"messages": []},
    "same_role": {"messages": [message("user", "a"), message("user", "b")]},
    "late_system": {"messages": [*HELLO, message("system", "Be longer now.")]},
    "odd_role": {"messages": [message("critic", "Hm."), message("user", "So?")]},
    "unicode": {"messages": [message("user", "Grüße, 世界 👩‍👩‍👧‍👦 e\u0301 \u00a0\u2028 \U0001f600"),
                             message("assistant", "\u3000wide spaces\u3000")]},
    "special": {"messages": [message("user", "<|im_end|> {{ 7 * 7 }} {% raw %} \\n \"quoted\" 'it' <s>\t\r\n\x7f&amp;"),
                             message("assistant", "  \n<b>[/INST]</b>\n  "), message("user", "{#")]},
    "thinking": {"messages": [message("user", "Q"), message("assistant", "<think>\nhm\n</think>\n\nA"),
                              message("user", "Q2"), message("assistant", "<think>\nhm2\n</think>\n\nA2")]},
    "reasoning": {"messages": [message("user", "Q"), message("assistant", "A", reasoning_content="\nhm\n")]},
    "no_thinking": {"messages": [message("user", "Q")], "extra": {"enable_thinking": False}},
    "yes_thinking": {"messages": [message("user", "Q")], "extra": {"enable_thinking": True}},
    "dated": {"messages": HELLO, "extra": {"date_string": "01 Feb 2023"}},
    "tools": {"messages": [message("user", " Weather? ")], "tools": [WEATHER]},
    "tools_system": {"messages": [message("system", "S"), *HELLO], "tools": [WEATHER, NO_ARGUMENTS],
                     "extra": {"tools_in_user_message": False}},
    "no_tools": {"messages": HELLO, "tools": []},
    "tools_alone": {"messages": [message("system", "S")], "tools": [WEATHER]},
    "custom_tools": {"messages": HELLO, "extra": {"custom_tools": [NO_ARGUMENTS]}},
    "call": {"messages": [message("user", "Weather?"), message("assistant", None, tool_calls=[CALL]),
                          message("tool", "sunny, 21°C", tool_call_id="call_0001"),
                          message("assistant", "It is sunny."), message("user", "Thanks")], "tools": [WEATHER]},
    "two_results": {"messages": [message("user", "Weather?"),
                                 message("assistant", "Let me see.", tool_calls=[CALL, CALL]),
                                 message("tool", "sunny", tool_call_id="call_0001"),
                                 message("tool", "rain", tool_call_id="call_0002")], "tools": [WEATHER]},
    "result_object": {"messages": [message("user", "W?"), message("assistant", "", tool_calls=[CALL]),
                                   message("tool", {"content": 21, "t": [1, None, True]}, tool_call_id="call_0001")]},
    "call_as_text": {"messages": [message("user", "W?"), message("assistant", "x", tool_calls=[
        {"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}])]},
    "short_id": {"messages": [message("user", "W?"), message("assistant", "", tool_calls=[{**CALL, "id": "1"}])]},
    "builtin": {"messages": [message("user", "W?"), message("assistant", "", tool_calls=[
        {"function": {"name": "search", "arguments": {"query": "rain", "where": "here"}}}])],
        "extra": {"builtin_tools": ["search", "code_interpreter"]}},
    "names": {"messages": [message("user", "a", name="Zoë"), message("assistant", "b", name="bot"),
                           message("user", "c", name="ann")]},
    "no_content": {"messages": [{"role": "user"}, {"role": "assistant"}]},
    "no_role": {"messages": [{"content": "who am I"}]},
    "long": {"messages": [message("user" if i % 2 == 0 else "assistant", f"turn {i} " * (i + 1)) for i in range(9)]},
}
# Lists of parts reach only those templates that go through them; others get one text.
PARTS = {
    "parts": {"messages": [message("user", [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])]},
    "parts_image": {"messages": [message("user", [{"type": "image"}, {"type": "text", "text": "it's \"what\"?\n"}])]},
}

VARIABLES = {
    "s": "Hello, World", "u": "Grüße 世界 👍", "empty": "", "n": 7, "z": 0, "neg": -3, "f": 2.5, "t": True, "no": None,
    "items": [3, 1, 2], "words": ["b", "a", "C", "a"], "d": {"a": 1, "b": {"c": [1, 2]}, "items": 5},
    "people": [{"name": "Bob", "age": 30, "tags": []}, {"name": "al", "age": 25}, {"name": "Cy", "age": 30}],
}


def prints_of(line):
    """The single {{ }} of a line that has nothing else in it, so that one error hides no other result."""
    prints = []
    try:
        for _, kind, text in jinja2.Environment().lex(line):
            if kind == "variable_begin":
                prints.append("")
            if kind not in ("data", "variable_begin", "variable_end") and not kind.startswith(("block", "raw", "comment")):
                prints[-1] += text
            if kind.startswith(("block", "raw", "comment")):
                return [line]
    except (jinja2.TemplateSyntaxError, IndexError):
        return [line]
    return ["{{" + text + "}}" for text in prints] if len(prints) > 1 else [line]


def expressions():
    listed = (FOLDER / "expressions.txt").read_text().split("\n")
    lines = [line.replace("⏎", "\n") for line in listed if line and not line.startswith("#")]
    return [source for line in lines for source in ([line] if "\n" in line or "-}}" in line else prints_of(line))]


def render(source, variables):
    try:
        template = chat_template_utils._compile_jinja_template(source)
        template.globals["strftime_now"] = NOW.strftime
        # A copy: the filter indent changes a list that it is given, before it fails.
        return {"text": template.render(**copy.deepcopy(variables))}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"error": error.message, "own_words": True}
        return {"error": type(error).__name__, "own_words": False}
    except Exception as error:  # whatever Python makes of it
        return {"error": type(error).__name__, "own_words": False}


def template_cases(conversations):
    for path in sorted((FOLDER / "templates").glob("*.jinja")):
        source = path.read_text()
        for name, conversation in conversations.items():
            if name in PARTS and path.stem != "content_parts":
                continue
            for add_generation_prompt in (False, True):
                variables = {**SPECIAL_TOKENS, "documents": None, "tools": conversation.get("tools"),
                             "messages": conversation["messages"],
                             "add_generation_prompt": add_generation_prompt, **conversation.get("extra", {})}
                yield {"template": path.stem, "conversation": name,
                       "add_generation_prompt": add_generation_prompt, **render(source, variables)}


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=0)
    (FOLDER / "goldens" / name).write_text(text + "\n")


class Fuzz:
    """Random expressions over VARIABLES; most of them are valid, many are errors in Python.

    `if t` keeps jinja2 from folding constants: folded, a slice of a number is undefined instead of an error."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def pick(self, *choices):
        return self.rng.choice(choices)

    def atom(self):
        return self.pick(*VARIABLES, "missing", "none", "true", "1", "2", "-1", "0.5", "1e3", "'a'", "'l'", "'o, '",
                         "' x '", "''", "'é'", "[]", "[1, 'a', none]", "(1,)", "{}", "{'k': s, 'a': 2}", "range(3)")

    def expression(self, depth):
        if depth == 0:
            return self.atom()
        a, b, c = (self.expression(depth - self.pick(1, 1, 2) if depth > 1 else 0) for _ in range(3))
        infix = self.pick("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or")
        filters = self.pick("trim", "length", "upper", "lower", "string", "tojson", "first", "last", "list", "sort",
                            "reverse | list", "unique | list", "join(', ')", "join('-', attribute='name')",
                            "default('D')", "default('E', true)", "int", "int(9)", "float", "abs", "round", "round(1)",
                            "title", "capitalize", "items | list", "dictsort", "map('upper') | list",
                            "map(attribute='name') | list", "selectattr('age', 'gt', 26) | list", "select | list",
                            "reject('equalto', 1) | list", "replace('l', 'L')", "replace('', '-', 2)", "indent(2)",
                            "tojson(indent=2)", "sum", "max", "min", "count")
        tests = self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "mapping", "iterable",
                          "sequence", "boolean", "true", "false", "odd", "even", "equalto(1)", "in([1, 'a', none])",
                          "divisibleby 3", "lower", "upper", "callable")
        method = self.pick(".strip()", ".strip('Hd')", ".lstrip()", ".rstrip('d')", ".split()", ".split('l')",
                           ".split('l', 1)", ".rsplit('l', 1)", ".startswith('H')", ".endswith(('d', 'k'))",
                           ".replace('l', 'r', 1)", ".upper()", ".title()", ".capitalize()", ".find('o')", ".rfind('o')",
                           ".items()", ".keys()", ".values() | list", ".get('a')", ".get('q', 3)", ".a",
                           ".b.c", ".name", "['a']", "[0]", "[-1]", "[1:]", "[:-1]", "[::-1]", "[::2]", "[-3:-1]",
                           ".splitlines()", ".isdigit()", ".removeprefix('H')")
        return self.pick(f"({a} {infix} {b})", f"({a} {infix} {b})", f"({a} | {filters})", f"({a} | {filters})",
                         f"({a} is {tests})", f"({a} is not {tests})", f"({a} if t else z){method}", f"({a} if t else z){method}",
                         f"({a} if {b} else {c})", f"(not {a})", f"(-{a})", f"[{a}, {b}]", f"({a}, {b})", f"({a})[{b}]",
                         f"{{'k': {a}, 'j': {b}}}", f"({a} if t else z)[{b}:{c}]")

    def source(self):
        body = "{{ " + self.expression(self.pick(1, 2, 2, 3, 3, 4)) + " }}"
        return self.pick(body, body, body, "{% set x = " + body[3:-3] + " %}\n{{ x }}|{{ x }}",
                         "{% for i in " + body[3:-3] + " -%}\n {{ loop.index }}{{ i }},{% else %}none{% endfor %}")

    def cases(self, count):
        sources = [self.source() for _ in range(count)]
        return [{"source": s, "random": True, **render(s, VARIABLES)} for s in sources]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fuzz = Fuzz(arguments.seed)
    if arguments.fuzz:
        print(json.dumps(fuzz.cases(arguments.fuzz), ensure_ascii=False))
        return
    conversations = {**CONVERSATIONS, **PARTS}
    (FOLDER / "goldens").mkdir(exist_ok=True)
    write("conversations.json", conversations)
    write("variables.json", VARIABLES)
    write("templates.json", list(template_cases(conversations)))
    cases = [{"source": s, **render(s, VARIABLES)} for s in expressions()]
    random_cases = fuzz.cases(800)
    cases += [case for case in random_cases if "text" in case][:250]
    cases += [case for case in random_cases if "error" in case][:50]
    write("expressions.json", cases)


if __name__ == "__main__":
    main()
