#!/usr/bin/env python3
"""Writes small text tasks as JSON lines: {"task", "prompt", "answer"}.

Every answer ends with a newline, so that a greedy decode that stops at the first newline can be
compared byte for byte. Whether an item is held out is decided by a hash of its content (for
sorting, of the multiset of digits), not by a random draw: an item that belongs to one split can
never occur in the other, whatever the seed and the count.

  make_tasks.py --split train --items 300000 --seed 1 > train.jsonl
  make_tasks.py --split heldout --items 100 --seed 2 --unique > validation.jsonl
  make_tasks.py --split heldout --items 300 --seed 2 --unique --skip 100 > heldout/tasks.jsonl
"""

import argparse
import hashlib
import itertools
import json
import random
import sys

LETTERS = "abcdefghijklmnopqrstuvwxyz"
HELDOUT_PERCENT = 10


def add(rng):
    """Sum of a two-digit number and a digit."""
    a, b = rng.randrange(10, 100), rng.randrange(10)
    return f"add: {a}+{b}=", f"{a + b}\n", f"{b} {a}"


def subtract(rng):
    """Difference of a two-digit number and a digit."""
    a, b = rng.randrange(10, 100), rng.randrange(10)
    return f"subtract: {a}-{b}=", f"{a - b}\n", f"{a} {b}"


def copy(rng):
    """The same three to eight letters again."""
    letters = " ".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 8)))
    return f"copy: {letters} >", f" {letters}\n", letters


def find(rng):
    """The two-digit value of one of two to five keys given before."""
    keys = rng.sample(LETTERS, rng.randint(2, 5))
    table = [(key, rng.randrange(10, 100)) for key in keys]
    key, value = rng.choice(table)
    listed = " ".join(f"{k}{v}" for k, v in table)
    return f"find: {listed} ? {key}", f"{value}\n", f"{listed} {key}"


def sort(rng):
    """Three to five digits in rising order. Another order of the same digits is the same item."""
    digits = [rng.choice("0123456789") for _ in range(rng.randint(3, 5))]
    answer = "".join(sorted(digits))
    return f"sort: {''.join(digits)}=", f"{answer}\n", answer


TASKS = {"add": add, "subtract": subtract, "copy": copy, "find": find, "sort": sort}


def is_held_out(task, content):
    """True for the same tenth of all items on every run and machine."""
    digest = hashlib.sha256(f"{task}|{content}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 100 < HELDOUT_PERCENT


def make_items(split, count, seed, unique):
    """Yields `count` items of the split, the tasks taking turns.

    REQUIRES: with `unique`, no more than the split has; 90 sums are held out.
    """
    rng = random.Random(seed)
    names = sorted(TASKS)
    seen = set()
    made = 0
    while made < count:
        task = names[made % len(names)]
        prompt, answer, content = TASKS[task](rng)
        if is_held_out(task, content) != (split == "heldout"):
            continue
        if unique and (task, content) in seen:
            continue
        seen.add((task, content))
        made += 1
        yield {"task": task, "prompt": prompt, "answer": answer}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=["train", "heldout"], required=True)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unique", action="store_true", help="no content twice")
    parser.add_argument("--skip", type=int, default=0, help="leave out that many at the front")
    args = parser.parse_args()
    items = make_items(args.split, args.skip + args.items, args.seed, args.unique)
    for item in itertools.islice(items, args.skip, None):
        sys.stdout.write(json.dumps(item) + "\n")


if __name__ == "__main__":
    main()
