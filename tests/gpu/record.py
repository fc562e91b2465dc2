#!/usr/bin/env python3
"""Runs the GPU tests of a manifest (bundle.py) and writes one JSON record of what they said.

    record.py --manifest FILE [--out FILE] [--only REGEX] [--random-seconds N] [--no-sanitizer]
              [--no-benches]

The record: device (of nvidia-smi), revision, tests[] with name, result (passed, failed, skipped,
timed out), seconds, counts of cases and the end of the output of what did not pass; random[], the
same for the tests that draw their cases (tests/support/dice.h), with other seeds for N seconds each
(default: 20), and how many; sanitizer[], the same for runs under compute-sanitizer, where it is there; benches[], the same with lines[], what they
printed: JSON objects as such, other lines as text.
"""
import argparse
import datetime
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

NO_GPU = "no GPU to test on"
SKIPPED_CASE = re.compile(r"\[  SKIPPED \] \d+ test")
CASES = re.compile(r"\[==========\] (\d+) tests? from .* ran")
# Small enough for a run many times slower.
SANITIZED = ("gpu_conformance_test", "gpu_device_test")
TOOLS = ("memcheck", "racecheck", "synccheck")
OUTPUT_CHARACTERS_MAX = 4000
SEEDS_A_RUN = 10


def lines_of(output):
    """JSON objects, on a line each or over several, as such; every other line as text."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(output):
        end = output.find("\n", at) % (len(output) + 1)
        if output[at] == "{":
            try:
                value, end = decoder.raw_decode(output, at)
                yield value
                at = end + 1
                continue
            except json.JSONDecodeError:
                pass
        if output[at:end].strip():
            yield output[at:end]
        at = end + 1


def run(name, command, folder, timeout_s, keeps_lines=False):
    begin = time.monotonic()
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
                              timeout=timeout_s, check=False)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, code = (error.stdout or b"").decode("utf-8", "replace"), None
    result = "passed" if code == 0 else "failed"
    if code is None:
        result = "timed out"
    elif code == 0 and NO_GPU in output:
        result = "skipped"
    entry = {"name": name, "result": result, "seconds": round(time.monotonic() - begin, 3)}
    if match := CASES.search(output):
        entry["cases"] = int(match.group(1))
    if SKIPPED_CASE.search(output):
        entry["cases_skipped"] = len(re.findall(r"\[  SKIPPED \] \S+ \(", output))
    if keeps_lines:
        entry["lines"] = list(lines_of(output))
    if result != "passed":
        entry["output"] = output[-OUTPUT_CHARACTERS_MAX:]
    print(f"{result:10} {entry['seconds']:9.3f} s  {name}", file=sys.stderr, flush=True)
    return entry


def draw(test, folder, seconds):
    """Other seeds of a test program's Random tests until the seconds are over; None without any."""
    random = [*test["command"], "--gtest_filter=*Random*"]
    listing = subprocess.run([*random, "--gtest_list_tests"], cwd=folder, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, encoding="utf-8", check=False)
    if "Random" not in listing.stdout:
        return None
    end = time.monotonic() + seconds
    seed, taken = 1, 0
    while True:
        seeds = ["--gtest_shuffle", f"--gtest_random_seed={seed}", f"--gtest_repeat={SEEDS_A_RUN}"]
        name = f"{test['name']} seeds {seed} to {seed + SEEDS_A_RUN - 1}"
        entry = run(name, random + seeds, folder, test["timeout_s"])
        seed, taken = seed + SEEDS_A_RUN, taken + entry["seconds"]
        if entry["result"] != "passed" or time.monotonic() >= end:
            return entry | {"seeds": seed - 1, "seconds": round(taken, 3)}


def device():
    if not shutil.which("nvidia-smi"):
        return None
    fields = "name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.mem,ecc.mode.current"
    done = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                          check=False)
    if done.returncode != 0:
        return {"error": done.stdout.strip()}
    return [dict(zip(fields.split(","), (value.strip() for value in line.split(","))))
            for line in done.stdout.splitlines()]


def sanitize(tests, folder):
    tool = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")
    if not tool:
        print("compute-sanitizer is not there: not run", file=sys.stderr)
        return []
    return [run(f"{check} {test['name']}", [tool, "--tool", check, "--error-exitcode", "9",
                                            *(["--report-api-errors", "no"] if check == "memcheck" else []),
                                            *test["command"]], folder, 10 * test["timeout_s"])
            for test in tests if test["name"] in SANITIZED for check in TOOLS]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("octet-gpu.json"))
    parser.add_argument("--only", default="")
    parser.add_argument("--random-seconds", type=float, default=20)
    parser.add_argument("--no-sanitizer", action="store_true")
    parser.add_argument("--no-benches", action="store_true")
    arguments = parser.parse_args()
    manifest = json.loads(arguments.manifest.read_text(encoding="utf-8"))
    folder = arguments.manifest.resolve().parent
    tests = [test for test in manifest["tests"] if re.search(arguments.only, test["name"])]
    benches = [bench for bench in manifest["benches"] if re.search(arguments.only, bench["name"])]
    for program in tests + benches:
        program["command"][0] = str(folder / program["command"][0])
    record = {"revision": manifest["revision"],
              "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "device": device()}
    record["tests"] = [run(test["name"], test["command"], folder, test["timeout_s"])
                       for test in tests]
    no_gpu = all(entry["result"] == "skipped" for entry in record["tests"])
    record["random"] = []
    if not no_gpu and arguments.random_seconds > 0:
        drawn = (draw(test, folder, arguments.random_seconds) for test in tests)
        record["random"] = [entry for entry in drawn if entry]
    record["sanitizer"] = []
    if not no_gpu and not arguments.no_sanitizer:
        record["sanitizer"] = sanitize(tests, folder)
    record["benches"] = []
    if not no_gpu and not arguments.no_benches:
        record["benches"] = [run(bench["name"], bench["command"], folder, bench["timeout_s"], True)
                             for bench in benches]
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(arguments.out, file=sys.stderr)
    if no_gpu:
        reason = re.search(NO_GPU + r": (.*)", "\n".join(e.get("output", "")
                                                         for e in record["tests"]))
        print(f"no device opens: {reason.group(1) if reason else 'no test ran'}", file=sys.stderr)
        return 2
    good = ("passed", "skipped")
    entries = record["tests"] + record["random"] + record["sanitizer"] + record["benches"]
    return 0 if all(entry["result"] in good for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
