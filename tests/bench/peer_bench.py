#!/usr/bin/env python3
"""Octet's CPU engine beside ik_llama.cpp: prefill and decode of one shape in turns, as one table.

Both run the same shape with made-up weights on the same threads: Octet `--weights int4 --kv int8`,
the peer a GGUF file of that shape (best Q4_0, with Q8_0 embedding and output, as Octet's head is
int8) with `-rtr -fa 1 -ctk q8_0 -ctv q8_0`. Its programs llama-bench and llama-batched-bench and
the file are made elsewhere; nothing of them is part of this repository.

    tests/bench/peer_bench.py --octet build/release/bin/octet --peer PEER/bin --gguf llama-1b.gguf \\
        --shape llama-1b --threads 2 [--cases prefill,decode-1] [--rounds 5] [--log runs.jsonl]

Every command measures one case; ours and the peer's alternate, and every round swaps who is first.
`--prefix CMD` goes before each measured command. `--log` appends one JSON line for each run, and
`--table` prints the table of such a file without measuring. A command that fails is named on
standard error and leaves its case a run short.

What differs still: Octet draws a token from the whole vocabulary in every step, the peer none;
Octet's decode is the mean over its steps (the median where `octet bench` does not print the mean),
the peer's the mean.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One workload: `batch` sequences of `prompt` tokens, then `generate` tokens of each."""

    prompt: int
    generate: int
    batch: int
    reported: tuple[str, ...]  # of "prefill" and "decode"


BOTH = ("prefill", "decode")
CASES = {
    "prefill": Case(512, 2, 1, ("prefill",)),
    "decode-1": Case(128, 32, 1, ("decode",)),
    "decode-4": Case(128, 32, 4, BOTH),
    "decode-8": Case(128, 32, 8, BOTH),
    "decode-16": Case(128, 32, 16, BOTH),
    "decode-32": Case(128, 32, 32, BOTH),
    "long-1": Case(1024, 32, 1, BOTH),
    "long-8": Case(1024, 32, 8, BOTH),
    "long-16": Case(1024, 32, 16, BOTH),
    "deep": Case(8192, 32, 1, BOTH),
}

# Of `octet bench --json`, by what it becomes in a run's record.
SHARES = {
    "prefill_of_peak": "prefill_int8_peak_fraction",
    "decode_of_bandwidth": "decode_weight_bandwidth_fraction",
    "decode_of_sustained": "decode_weight_sustained_bandwidth_fraction",
    "decode_of_peak": "decode_int8_peak_fraction",
}


def octet_command(args: argparse.Namespace, case: Case) -> list[str]:
    return [
        args.octet, "bench", "--json", "--device", "cpu", "--shape", args.shape,
        "--weights", "int4", "--kv", "int8", "--threads", str(args.threads),
        "--batch", str(case.batch), "--prompt", str(case.prompt),
        "--generate", str(case.generate),
    ]  # fmt: skip


def octet_record(output: str) -> dict:
    report = json.loads(output)
    result = report["results"][0]
    record = {
        "prefill": result["prefill_tokens_per_s"],
        "decode": result.get("decode_tokens_per_s_mean", result["decode_tokens_per_s"]),
        "bandwidth": report["read_bandwidth_bytes_per_s"],
        "sustained": report["read_sustained_bandwidth_bytes_per_s"],
        "peak": report["int8_peak_ops_per_s"],
        "instruction_set": report["instruction_set"],
        # What the share of the bandwidth was made of.
        "step_bytes": result["decode_weight_bandwidth_fraction"]
        * report["read_bandwidth_bytes_per_s"] * result["step_ms"] / 1e3,
    }  # fmt: skip
    return record | {ours: result[theirs] for ours, theirs in SHARES.items()}


def peer_command(args: argparse.Namespace, case: Case) -> list[str]:
    common = [
        "-m", args.gguf, "-t", str(args.threads), "-fa", "1", "-ctk", "q8_0", "-ctv", "q8_0",
    ]  # fmt: skip
    if case.reported == BOTH:
        context = case.batch * (case.prompt + case.generate)
        lists = ["-npp", str(case.prompt), "-ntg", str(case.generate), "-npl", str(case.batch)]
        return [f"{args.peer}/llama-batched-bench", *common, "-rtr", "-c", str(context), *lists]
    if case.reported == ("prefill",):
        work = ["-p", str(case.prompt), "-n", "0"]
    else:
        work = ["-p", "0", "-n", "0", "-gp", f"{case.prompt},{case.generate}"]
    return [f"{args.peer}/llama-bench", *common, "-rtr", "1", "-r", "1", "-o", "json", *work]


def peer_record(output: str, case: Case) -> dict:
    if case.reported != BOTH:
        (result,) = json.loads(output[output.index("[") :])
        return {case.reported[0]: result["avg_ts"]}
    # | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |
    wanted = [case.prompt, case.generate, case.batch]
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 10 and cells[0].isdigit() and [int(c) for c in cells[:3]] == wanted:
            return {"prefill": float(cells[5]), "decode": float(cells[7])}
    raise ValueError("no line of the case in the table of llama-batched-bench")


def measure(args: argparse.Namespace, who: str, case: Case) -> dict | None:
    """One run; None, with a word on standard error, where it failed."""
    command = octet_command(args, case) if who == "octet" else peer_command(args, case)
    command = shlex.split(args.prefix) + command
    try:
        with tempfile.TemporaryDirectory() as folder:  # the peer leaves a log where it runs
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise ValueError(f"exit status {run.returncode}: {run.stderr.strip()[-300:]}")
        if who == "octet":
            return octet_record(run.stdout)
        # The batched table comes on standard error, the JSON alone on standard output.
        return peer_record(run.stderr if case.reported == BOTH else run.stdout, case)
    except (OSError, ValueError, KeyError) as error:
        print(f"peer_bench: {shlex.join(command)}: {error}", file=sys.stderr)
        return None


def measure_all(args: argparse.Namespace, names: list[str]) -> list[dict]:
    records = []
    for name in names:
        for round_index in range(args.rounds):
            order = ["octet", "peer"] if round_index % 2 == 0 else ["peer", "octet"]
            for who in order:
                record = measure(args, who, CASES[name])
                if record is None:
                    continue
                record = {"shape": args.shape, "case": name, "who": who,
                          "round": round_index} | record  # fmt: skip
                records.append(record)
                if args.log:
                    with Path(args.log).open("a", encoding="utf-8") as log:
                        log.write(json.dumps(record) + "\n")
                rates = ", ".join(f"{k} {record[k]:.1f}" for k in BOTH if k in record)
                print(f"{name} round {round_index + 1} {who}: {rates}", file=sys.stderr)
    return records


def median_and_range(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def describe_shares(ours: list[dict], phase: str) -> str:
    """What part of the machine, as measured in the same runs, the medians reach."""
    shares = [key for key in SHARES if key.startswith(phase)]
    medians = {key: statistics.median(r[key] for r in ours) for key in shares}
    return ", ".join(f"{value:.2f} {key.split('_', 1)[1]}" for key, value in medians.items())


def table_row(records: list[dict], name: str, phase: str) -> str | None:
    case = CASES[name]
    runs = {who: [r for r in records if r["case"] == name and r["who"] == who and phase in r]
            for who in ("octet", "peer")}  # fmt: skip
    if not runs["octet"] or not runs["peer"]:
        return None
    rates = {who: [r[phase] for r in found] for who, found in runs.items()}
    ratio = statistics.median(rates["octet"]) / statistics.median(rates["peer"])
    length = f"{case.prompt}" if phase == "prefill" else f"{case.prompt} + {case.generate}"
    cells = [
        phase, str(case.batch), length,
        median_and_range(rates["octet"], 1), median_and_range(rates["peer"], 1),
        f"{ratio:.2f}", f"{len(rates['octet'])}, {len(rates['peer'])}",
        describe_shares(runs["octet"], phase).replace("_", " "),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def print_table(records: list[dict], shape: str) -> None:
    ours = [r for r in records if r["who"] == "octet"]
    if not ours:
        sys.exit("peer_bench: no run of ours succeeded")
    step_bytes = statistics.median(r["step_bytes"] for r in ours)
    print(f"{shape}: instruction set {ours[0]['instruction_set']}, "
          f"read bandwidth {median_and_range([r['bandwidth'] / 1e9 for r in ours], 1)} GB/s "
          f"(sustained {median_and_range([r['sustained'] / 1e9 for r in ours], 1)}), "
          f"int8 peak {median_and_range([r['peak'] / 1e12 for r in ours], 2)} TOPS, "
          f"{step_bytes / 1e6:.0f} MB of layers and head a step\n")  # fmt: skip
    print("| phase | sequences | tokens of each | Octet tokens/s | peer tokens/s | ratio of medians "
          "| runs | Octet's share |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        for phase in case.reported:
            row = table_row(records, name, phase)
            if row is not None:
                print(row)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--octet", default="build/release/bin/octet", help="our program")
    parser.add_argument("--peer", help="folder of llama-bench and llama-batched-bench")
    parser.add_argument("--gguf", help="the peer's file of the shape")
    parser.add_argument("--shape", default="llama-1b", help="as `octet bench --shape` takes it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side and case")
    parser.add_argument("--cases", default=",".join(CASES), help="default: all, %(default)s")
    parser.add_argument("--prefix", default="", help="a command put before every measured one")
    parser.add_argument("--log", help="file to which each run is appended as a JSON line")
    parser.add_argument("--table", metavar="LOG", help="only print the table of such a file")
    args = parser.parse_args()
    unknown = [name for name in args.cases.split(",") if name not in CASES]
    if unknown:
        parser.error(f"unknown cases {', '.join(unknown)}; expected some of {', '.join(CASES)}")
    if not args.table and (args.peer is None or args.gguf is None):
        parser.error("--peer and --gguf are needed to measure")
    for name in ("octet", "peer", "gguf", "shape"):  # commands run in another folder
        value = getattr(args, name)
        if value is not None and Path(value).exists():
            setattr(args, name, str(Path(value).resolve()))
    return args


def main() -> None:
    args = parse_arguments()
    if args.table:
        lines = Path(args.table).read_text(encoding="utf-8").splitlines()
        records = [r for r in map(json.loads, lines) if r["shape"] == args.shape]
    else:
        records = measure_all(args, args.cases.split(","))
    print_table(records, args.shape)


if __name__ == "__main__":
    main()
