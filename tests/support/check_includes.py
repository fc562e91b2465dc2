#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not: who may include whom, which folders may
see MPI, NCCL, CUDA, gRPC and JSON, a README in every folder, no file over 500 lines. The tables
below are the rules; to change one is a decision, written in the README of the folder concerned.

    check_includes.py [--root FOLDER]    prints one line per violation, exits 1 when there is any
    check_includes.py --self-test        checks that planted violations are found
"""
import argparse
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("base", "proto", "kernels", "comm", "worker", "coordinator", "launch", "tests")
PROTO = "proto"  # its generated headers are included without this folder: octet/v1/x.pb.h

# Folder -> what its files may include besides the folder itself. The longest match counts.
MAY_INCLUDE = {
    "base": (),
    # primitives.cuh has two implementations: nvcc's intrinsics, and the emulator of the tests.
    "base/device": ("base", "tests/support/emulator"),
    "kernels": ("base",),
    "comm": ("base",),
    "worker": ("base", "kernels", "comm", PROTO),
    "worker/model": ("base", "kernels", "comm"),
    "worker/weights": ("base", "kernels", "worker/model"),
    # A forward pass needs a communicator, if only the one of a single rank.
    "worker/quantize": ("base", "kernels", "comm", "worker/model", "worker/weights"),
    "coordinator": ("base", PROTO),
    "coordinator/schedule": ("base",),
    "coordinator/tokenizer": ("base",),
    "launch": ("base", "kernels", "comm", "worker", "coordinator", PROTO),
}
# Tests that put the whole house together. Any other tests/X may include what X may, X and tests/.
TESTS_OF_EVERYTHING = ("tests/integration", "tests/gpu", "tests/bench", "tests/fuzz",
                       "tests/support")

# Name, pattern of the included file, folders that may include it (and their tests).
OUTSIDE = (
    ("MPI", r"mpi\.h|mpi-ext\.h", ("comm",)),
    ("NCCL", r"nccl\.h", ("comm",)),
    ("CUDA", r"cuda(_\w+)?\.h|cuda(_\w+)?\.hpp|cublas\w*\.h|mma\.h|nvtx3/.*|cooperative_groups.*",
     ("base/device", "kernels", "comm", "tests/gpu", "tests/bench")),
    ("gRPC", r"grpc(pp)?/.*|.*\.grpc\.pb\.h",
     ("coordinator/rpc", "coordinator/transport", "coordinator/workers", "worker/link", "launch",
      # A test of one end plays the other.
      "tests/bench", "tests/coordinator", "tests/worker", "tests/integration")),
    ("JSON", r"nlohmann/.*",
     ("base/json", "coordinator/chat", "coordinator/tokenizer", "coordinator/intake", "coordinator/journal",
      "coordinator/transport", "worker/model", "worker/weights", "worker/quantize", "launch",
      "tests")),
    ("GoogleTest", r"g(test|mock)/.*", ("tests",)),
)
NOT_IN_HEADERS = ("CUDA",)  # not in a .h; .cuh and .cu may

LINES_MAX = 500
# Path -> why it is one file all the same.
LONG_FILES = {
    "launch/demo_model/train.py": "a Python tool is one file and imports no other",
    "tests/golden/make_goldens.py": "a Python tool is one file and imports no other",
}

CPP = (".h", ".cc", ".cu", ".cuh")
SOURCES = CPP + (".py", ".sh", ".proto", ".cmake")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def within_any(path, folders):
    return any(within(path, folder) for folder in folders)


def mirrored(folder):
    """The folder that `folder` belongs to: kernels/linear for tests/kernels/linear."""
    return folder.removeprefix("tests/")


def may_include(folder, target):
    if within(folder, "tests"):
        if within(target, "tests") or within_any(folder, TESTS_OF_EVERYTHING):
            return True
        folder = mirrored(folder)
    owners = [owner for owner in MAY_INCLUDE if within(folder, owner)]
    if not owners:
        return False
    owner = max(owners, key=len)
    return within_any(target, (owner,) + MAY_INCLUDE[owner])


def check_include(root, path, bracket, target):
    """Yields what is wrong with `path` including `target`."""
    folder = path.rpartition("/")[0]
    for name, pattern, allowed in OUTSIDE:
        if not re.fullmatch(pattern, target):
            continue
        if not within_any(folder, allowed) and not within_any(mirrored(folder), allowed):
            yield f"includes <{target}>; {name} may be seen only in {', '.join(allowed)}"
        if name in NOT_IN_HEADERS and path.endswith(".h"):
            yield f"includes <{target}>; {name} may not be seen in a .h"
    if target.endswith(".pb.h"):
        stem = target.removesuffix(".pb.h").removesuffix(".grpc")
        target, file = f"{PROTO}/{target}", f"{PROTO}/{stem}.proto"
    else:
        file = target
    owner = target.rpartition("/")[0]
    if (root / file).is_file():
        if not may_include(folder, owner):
            yield f"includes {target}; {folder}/ may not include {owner}/"
    elif bracket == '"' or file != target:
        yield f"includes {target}; there is no {file} (paths start at the root of the repository)"


def source_files(root):
    for top in FOLDERS:
        for path in sorted((root / top).rglob("*")):
            hidden = any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
            if path.is_file() and not hidden:
                if path.suffix in SOURCES or path.name == "CMakeLists.txt":
                    yield path.relative_to(root).as_posix()


def check_readmes(root, files):
    folders = set()
    for path in files:
        parts = path.split("/")[:-1]
        folders.add(parts[0])
        # tests/ mirrors the tree, which has the READMEs.
        if len(parts) == 2 and parts[0] != "tests":
            folders.add("/".join(parts))
    for folder in sorted(folders):
        if not (root / folder / "README.md").is_file():
            yield f"{folder}/: has no README.md"


def check(root, long_files):
    files = list(source_files(root))
    problems = list(check_readmes(root, files))
    for path in files:
        lines = (root / path).read_text(encoding="utf-8").splitlines()
        if len(lines) > LINES_MAX and path not in long_files:
            problems.append(f"{path}: has {len(lines)} lines; at most {LINES_MAX} are expected, "
                            "or a reason in LONG_FILES")
        if len(lines) <= LINES_MAX and path in long_files:
            problems.append(f"{path}: has {len(lines)} lines; LONG_FILES need not list it any more")
        if not path.endswith(CPP):
            continue
        for number, line in enumerate(lines, 1):
            if match := INCLUDE.match(line):
                for problem in check_include(root, path, *match.groups()):
                    problems.append(f"{path}:{number}: {problem}")
    problems += [f"{path}: is in LONG_FILES but not in the tree"
                 for path in long_files if path not in files]
    return files, problems


def self_test():
    """Path, text, a part of the line that must be printed; None where nothing may be."""
    cases = (
        ("kernels/linear/fine.h", '#include "base/check.h"\n#include <vector>\n', None),
        ("kernels/linear/fine.cu", "#include <cuda_runtime.h>\n", None),
        ("comm/fine.cc", "#include <mpi.h>\n", None),
        ("tests/comm/fine_test.cc", '#include <mpi.h>\n#include "comm/fine.h"\n', None),
        ("comm/fine.h", '#include "base/check.h"\n', None),
        ("worker/link/fine.cc", '#include <grpcpp/grpcpp.h>\n#include "octet/v1/a.grpc.pb.h"\n',
         None),
        ("coordinator/schedule/fine.h", "", None),
        ("proto/octet/v1/a.proto", "", None),
        ("tests/integration/fine_test.cc",
         '#include "comm/fine.h"\n#include "coordinator/schedule/fine.h"\n', None),
        ("kernels/linear/comm.cc", '#include "comm/fine.h"\n',
         "kernels/linear/ may not include comm/"),
        ("worker/up.cc", '#include "coordinator/schedule/fine.h"\n', "worker/ may not include"),
        ("coordinator/intake/down.cc", '#include "kernels/linear/fine.h"\n',
         "coordinator/intake/ may not include kernels/linear/"),
        ("coordinator/schedule/proto.cc", '#include "octet/v1/a.pb.h"\n',
         "coordinator/schedule/ may not include proto/octet/v1/"),
        ("worker/no_proto.cc", '#include <octet/v1/b.pb.h>\n',
         "there is no proto/octet/v1/b.proto"),
        ("tests/kernels/linear/comm_test.cc", '#include "comm/fine.h"\n',
         "tests/kernels/linear/ may not include comm/"),
        ("worker/model/mpi.cc", "#  include <mpi.h>\n", "MPI may be seen only in comm"),
        ("coordinator/intake/grpc.h", "#include <grpcpp/server.h>\n", "gRPC may be seen only in"),
        ("kernels/linear/cuda.h", "#include <cuda_runtime.h>\n", "CUDA may not be seen in a .h"),
        ("worker/cuda.cc", "#include <cuda_runtime.h>\n", "CUDA may be seen only in"),
        ("kernels/linear/json.cc", "#include <nlohmann/json.hpp>\n", "JSON may be seen only in"),
        ("base/gtest.h", "#include <gtest/gtest.h>\n", "GoogleTest may be seen only in"),
        ("comm/relative.cc", '#include "fine.h"\n', "there is no fine.h"),
        ("comm/bracket.cc", "#include <coordinator/schedule/fine.h>\n", "comm/ may not include"),
        ("base/long.cc", "\n" * (LINES_MAX + 1), f"has {LINES_MAX + 1} lines"),
        ("base/was_long.cc", "\n" * LINES_MAX, "need not list it"),
    )
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text, _ in cases + (("base/check.h", "", None),):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
            (root / path).with_name("README.md").touch()
        for top in ("kernels", "worker", "coordinator", "proto", "tests"):
            (root / top / "README.md").touch()
        (root / "worker/link/README.md").unlink()
        (root / "comm/README.md").unlink()
        _, problems = check(root, {"base/was_long.cc": "planted", "base/gone.cc": "planted"})
    failures = []
    expected = [(path, part) for path, _, part in cases if part is not None]
    expected += [("worker/link/", "no README"), ("comm/", "no README"),
                 ("base/gone.cc", "not in the tree")]
    for path, part in expected:
        found = [line for line in problems if line.startswith(path + ":") and part in line]
        if len(found) != 1:
            failures.append(f"{path}: expected one line with '{part}', found {len(found)}")
    if len(problems) != len(expected):
        failures.append(f"expected {len(expected)} lines, found {len(problems)}:")
        failures += problems
    return failures, len(expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        problems, count = self_test()
        summary = f"self-test: {count} planted violations, {len(problems)} problems"
    else:
        files, problems = check(arguments.root, LONG_FILES)
        summary = f"{len(files)} files, {len(problems)} violations"
    for problem in problems:
        print(problem)
    print(summary)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
