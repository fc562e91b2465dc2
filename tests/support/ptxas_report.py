#!/usr/bin/env python3
"""Keeps what ptxas says of each kernel, and checks it: no spills, no warnings of its own (C75xx: a
wgmma was serialised, setmaxnreg was ignored).

    ptxas_report.py --record FILE -- COMMAND...   runs a compile with -Xptxas=-v, keeps the report in
                                                  FILE and shows all else that the compiler said
    ptxas_report.py --check FOLDER [--table]      reads every *.ptxas below FOLDER; prints one line per
                                                  violation (and all kernels), exits 1 when there is any
    ptxas_report.py --self-test                   checks that planted violations are found
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SUFFIX = ".ptxas"
ENTRY = re.compile(r"Compiling entry function '([^']+)' for '([^']+)'")
# Kernels that may spill a few bytes, and how many: name in the report, bytes out.
SPILLS_KNOWN = {"octet::kernels::WideAttentionKernel": 76}
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
INFO = re.compile(r"^ptxas info|bytes stack frame|^$")
WARNING = re.compile(r"\(C7\d+\)|ptxas warning|C75\d\d")


def record(path, command):
    run = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                         check=False)
    pathlib.Path(path).write_text(run.stderr, encoding="utf-8")
    for line in run.stderr.splitlines():
        if not INFO.search(line) or WARNING.search(line):
            print(line, file=sys.stderr)
    return run.returncode


def kernels_of(text):
    """Yields a dictionary for each kernel and architecture of one report."""
    kernel = None
    for line in text.splitlines():
        if match := ENTRY.search(line):
            kernel = {"name": match.group(1), "arch": match.group(2)}
        elif kernel and (match := SPILLS.search(line)):
            kernel["stack"], kernel["stores"], kernel["loads"] = map(int, match.groups())
        elif kernel and (match := USED.search(line)):
            kernel["registers"] = int(match.group(1))
            kernel["shared"] = int(match.group(2) or 0)
            yield kernel
            kernel = None


def demangle(names):
    if not names or not shutil.which("c++filt"):
        return names
    run = subprocess.run(["c++filt", "--no-params"], input="\n".join(names), encoding="utf-8",
                         stdout=subprocess.PIPE, check=True)
    return run.stdout.splitlines()


def check(folder):
    """Returns the kernels found, and a line for each violation."""
    kernels, problems = [], []
    for path in sorted(pathlib.Path(folder).rglob("*" + SUFFIX)):
        text = path.read_text(encoding="utf-8")
        problems += [f"{path.stem}: {line.strip()}" for line in text.splitlines()
                     if WARNING.search(line)]
        for kernel in kernels_of(text):
            kernel["file"] = path.stem
            kernels.append(kernel)
    for kernel, name in zip(kernels, demangle([kernel["name"] for kernel in kernels])):
        kernel["name"] = name
        known = next((spills for prefix, spills in SPILLS_KNOWN.items() if prefix in name), 0)
        if kernel.get("stores", 0) > known or (kernel.get("loads") and not known):
            problems.append(f"{kernel['file']}: {name} for {kernel['arch']} spills "
                            f"{kernel['stores']} bytes out, {kernel['loads']} in")
    return kernels, problems


def self_test():
    clean = ("ptxas info    : Compiling entry function '_Z1av' for 'sm_80'\n"
             "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
             "ptxas info    : Used 30 registers, used 1 barriers, 1024 bytes smem\n")
    planted = clean.replace("0 bytes spill stores", "8 bytes spill stores") + (
        "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are "
        "serialized\n")
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "clean" + SUFFIX).write_text(clean, encoding="utf-8")
        kernels, problems = check(folder)
        failures = [] if not problems and kernels[0]["registers"] == 30 else ["clean: found some"]
        pathlib.Path(folder, "planted" + SUFFIX).write_text(planted, encoding="utf-8")
        _, problems = check(folder)
    if len(problems) != 2:
        failures.append(f"planted: expected 2 violations, found {problems}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record")
    parser.add_argument("--check")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    if arguments.record:
        return record(arguments.record, arguments.command)
    if arguments.self_test:
        problems, kernels = self_test(), []
    else:
        kernels, problems = check(arguments.check)
    if arguments.table:
        for kernel in kernels:
            print(f"{kernel['arch']:8} {kernel['registers']:4} registers {kernel['shared']:7} "
                  f"static shared bytes  {kernel['name']}")
    for problem in problems:
        print(problem)
    print(f"{len(kernels)} kernels, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
