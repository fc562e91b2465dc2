#!/usr/bin/env python3
"""Finds the GPU tests of a build (ctest label cuda) and the benches of benches.txt, and says how to
run them.

    bundle.py --build FOLDER --manifest-only FILE    writes the list, with the paths of the build
    bundle.py --build FOLDER --into FOLDER           copies them, stripped, with the shared libraries
                                                     they need, and writes manifest.json beside them
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

# What every Linux has, or what belongs to the driver: not for a bundle.
SYSTEM = re.compile(r"(ld-linux.*|linux-vdso|libc|libm|libdl|librt|libpthread|libcuda)\.so.*")


def gpu_tests(build):
    """The ctest entries with the label cuda: name, command, timeout in seconds."""
    listing = subprocess.run(["ctest", "--test-dir", build, "-L", "^cuda$", "--show-only=json-v1"],
                             stdout=subprocess.PIPE, encoding="utf-8", check=True)
    tests = []
    for test in json.loads(listing.stdout)["tests"]:
        properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
        if "command" not in test or not pathlib.Path(test["command"][0]).is_file():
            raise SystemExit(f"{test['name']} is not built; build all of {build} first")
        tests.append({"name": test["name"], "command": test["command"],
                      "timeout_s": int(properties.get("TIMEOUT", 300))})
    if not tests:
        raise SystemExit(f"{build} has no GPU tests: it was configured without nvcc")
    return tests


def gpu_benches(build):
    """Those of benches.txt that are built: name, command."""
    benches = []
    for line in pathlib.Path(__file__).with_name("benches.txt").read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        binary = pathlib.Path(build, "bin", words[0]).resolve()
        if binary.is_file():
            benches.append({"name": " ".join(words), "command": [str(binary)] + words[1:],
                            "timeout_s": 600})
        else:
            print(f"{words[0]} is not built: left out", file=sys.stderr)
    return benches


def shared_libraries(binary):
    listing = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    for name, path in re.findall(r"(\S+) => (/\S+)", listing.stdout):
        if not SYSTEM.fullmatch(name):
            yield name, path


def collect(programs, into):
    (into / "bin").mkdir(parents=True)
    (into / "lib").mkdir()
    for program in programs:
        source = program["command"][0]
        target = into / "bin" / pathlib.Path(source).name
        for name, path in shared_libraries(source):
            shutil.copy(path, into / "lib" / name)
        if not target.exists():
            shutil.copy(source, target)
            subprocess.run(["strip", target], check=True)
        program["command"] = [f"bin/{target.name}"] + program["command"][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--manifest-only", type=pathlib.Path)
    parser.add_argument("--into", type=pathlib.Path)
    arguments = parser.parse_args()
    tests = gpu_tests(arguments.build)
    # The primitives first: where they are wrong, nothing else tells anything.
    tests.sort(key=lambda test: (test["name"] != "gpu_conformance_test", test["name"]))
    benches = gpu_benches(arguments.build)
    path = arguments.manifest_only
    if arguments.into:
        collect(tests + benches, arguments.into)
        path = arguments.into / "manifest.json"
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                              encoding="utf-8", check=False).stdout.strip()
    path.write_text(json.dumps({"revision": revision, "tests": tests, "benches": benches},
                               indent=1), encoding="utf-8")
    print(f"{path}: {len(tests)} tests, {len(benches)} benches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
