#!/usr/bin/env python3
"""Measures a model folder: perplexity of held-out text and exact answers of held-out tasks.

Hugging Face transformers computes with the bf16 weights as stored. The text is cut into windows
that do not overlap; every window's first token is context only. A task answer is what greedy
decoding writes up to and with the first newline; it counts only if it equals the expected one
byte for byte.
"""

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ANSWER_TOKENS_MAX = 24


@torch.no_grad()
def text_perplexity(model, tokenizer, text, window):
    """Returns (perplexity per token, bits per byte, predicted tokens)."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    total, count = 0.0, 0
    for start in range(0, len(ids) - 1, window):
        part = torch.tensor([ids[start : start + window + 1]])
        logits = model(part[:, :-1]).logits.float()
        total += torch.nn.functional.cross_entropy(logits[0], part[0, 1:], reduction="sum").item()
        count += part.shape[1] - 1
    bits_per_byte = total / math.log(2) / len(text.encode())
    return math.exp(total / count), bits_per_byte, count


@torch.no_grad()
def greedy_line(model, tokenizer, prompt):
    """Greedy continuation of the prompt up to the first newline, inclusive."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    past, step_ids, answer = None, ids, []
    for _ in range(ANSWER_TOKENS_MAX):
        out = model(torch.tensor([step_ids]), past_key_values=past, use_cache=True)
        past = out.past_key_values
        token = int(out.logits[0, -1].float().argmax())
        if token == tokenizer.eos_token_id:
            break
        answer.append(token)
        step_ids = [token]
        written = tokenizer.decode(answer)
        if "\n" in written:
            return written[: written.index("\n") + 1]
    return tokenizer.decode(answer)


def task_accuracy(model, tokenizer, items):
    """Returns {task: (exact, items, first wrong ones)}."""
    exact, count, wrong = defaultdict(int), defaultdict(int), defaultdict(list)
    for item in items:
        answer = greedy_line(model, tokenizer, item["prompt"])
        count[item["task"]] += 1
        if answer == item["answer"]:
            exact[item["task"]] += 1
        else:
            wrong[item["task"]].append([item["prompt"], item["answer"], answer])
    return {task: (exact[task], count[task], wrong[task][:3]) for task in sorted(count)}


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=here / "model")
    parser.add_argument("--text", type=Path, default=here / "heldout" / "bible.txt")
    parser.add_argument("--tasks", type=Path, default=here / "heldout" / "tasks.jsonl")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    text = args.text.read_text(encoding="utf-8")
    items = [json.loads(line) for line in args.tasks.read_text(encoding="utf-8").splitlines()]
    perplexity, bits, tokens = text_perplexity(model.eval(), tokenizer, text, args.window)
    tasks = task_accuracy(model, tokenizer, items)
    if args.json:
        result = {
            "perplexity": perplexity,
            "bits_per_byte": bits,
            "text_tokens": tokens,
            "tasks": {t: {"exact": e, "items": n} for t, (e, n, _) in tasks.items()},
        }
        print(json.dumps(result, indent=1))
        return
    print(f"held-out text: perplexity {perplexity:.2f} per token, {bits:.3f} bits per byte")
    for task, (exact, count, wrong) in tasks.items():
        print(f"{task}: {exact} of {count} exact")
        for prompt, expected, answer in wrong:
            print(f"  {prompt!r} expected {expected!r} got {answer!r}")


if __name__ == "__main__":
    main()
