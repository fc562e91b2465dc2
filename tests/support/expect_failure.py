#!/usr/bin/env python3
"""Runs a command that must fail and say why: a test with a bug planted in what it tests.

    expect_failure.py --expect REGEX -- COMMAND...    exits 0 when the command fails and its output
                                                      matches, else prints the output and exits 1
"""
import argparse
import re
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expect", required=True, help="regular expression, across lines")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    run = subprocess.run(arguments.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         encoding="utf-8", errors="replace", check=False)
    found = re.search(arguments.expect, run.stdout, re.DOTALL)
    if run.returncode != 0 and found:
        print(f"failed as it should, with '{found.group(0)[:200]}'")
        return 0
    print(run.stdout)
    if run.returncode == 0:
        print("the command was expected to fail and did not")
    else:
        print(f"the output does not match '{arguments.expect}'")
    return 1


if __name__ == "__main__":
    sys.exit(main())
