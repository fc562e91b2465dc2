#!/usr/bin/env python3
"""Checks that kernels touch the hardware through base/device/primitives.cuh alone, so that the source
that runs on a GPU is the source that the emulator tests: no inline assembly, launch syntax or builtin
beyond its list, no CUDA header or runtime call, nothing that only one of the two compilers sees.

    check_kernels.py [--root FOLDER]    prints one line per violation, exits 1 when there is any
    check_kernels.py --self-test        checks that planted violations are found
"""
import argparse
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("base", "kernels", "comm", "worker", "tests")
KERNELS = (".cu", ".cuh")
# The two sides of the door.
DOOR = re.compile(r"base/device/primitives(_\w+)?\.cuh|tests/support/emulator/.*")

# Pattern, what is wrong with it.
FORBIDDEN = (
    (r"\basm\b", "inline assembly; add a function to base/device/primitives.cuh"),
    (r"<<<", "launch syntax; use OCTET_LAUNCH"),
    (r"\bextern\s+__shared__|(?<!\w)__shared__\b", "raw shared memory; use OCTET_SHARED or hw::Smem"),
    (r"\b__(ldg|ldcg|ldcs|stcs|stcg|cvta\w*|nanosleep|match_\w+|fns|byte_perm|dp4a|funnelshift\w*|"
     r"trap|brkpt|prof_trigger|clock\w*|isGlobal|isShared|threadfence_\w+)\b",
     "a builtin the emulator does not have"),
    (r"\b__(expf|exp10f|logf|log2f|log10f|powf|sinf|cosf|tanf|fdividef|frcp_\w+|fsqrt_\w+|frsqrt_\w+|"
     r"fmaf_\w+|fadd_\w+|fmul_\w+|fdiv_\w+|saturatef)\b",
     "a float builtin the emulator does not have; see the list in base/device/primitives.cuh"),
    (r"\b__(nv_bfloat16|nv_bfloat162|half|half2)\b|\bnv_bfloat16\d?\b|\bhalf2\b|"
     r"\b__h(fma|add|sub|mul|max|min)\w*",
     "a 16-bit float type; floats of 16 bits are words of bits, see hw::bf16x2 and the like"),
    (r"\bcuda[A-Z]\w*", "the CUDA runtime; devices are base/device/device.h"),
    (r"__CUDACC__|__CUDA_ARCH__|\bOCTET_EMULATOR\b",
     "a condition on the compiler; both must see the same source"),
    (r"\b(cooperative_groups|cuda::std|cuda::barrier|cuda::pipeline)\b",
     "a CUDA library; use the primitives"),
    (r"#\s*include\s*<(cuda|mma|cooperative_groups|cub|thrust|cute|cutlass)",
     "a CUDA header; include base/device/primitives.cuh"),
)
# .cuh files may include these only: they are device code and compile in both ways.
CUH_INCLUDES = re.compile(r'base/device/primitives\.cuh|.*\.cuh|.*\.h')
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                               re.DOTALL)


def blank(match):
    """Keeps line breaks, so that line numbers stay right; includes keep their path."""
    text = match.group(0)
    return text if text.startswith('"') and text.endswith(('.h"', '.cuh"')) else (
        re.sub(r"[^\n]", " ", text))


def check_file(path, text):
    code = COMMENT_OR_STRING.sub(blank, text)
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, what in FORBIDDEN:
            if match := re.search(pattern, line):
                yield f"{path}:{number}: '{match.group(0).strip()}': {what}"
        match = INCLUDE.match(line)
        if match and path.endswith(".cuh") and not CUH_INCLUDES.fullmatch(match.group(1)):
            yield f"{path}:{number}: a .cuh includes {match.group(1)}"


def check(root):
    files, problems = 0, []
    for top in FOLDERS:
        for path in sorted((root / top).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in KERNELS and not DOOR.fullmatch(name):
                files += 1
                problems += check_file(name, path.read_text(encoding="utf-8"))
    return files, problems


def self_test():
    """Path, text, a part of the line that must be printed; None where nothing may be."""
    cases = (
        ("kernels/fine.cu", '#include "base/device/primitives.cuh"\n'
         "// no asm here: a comment about <<<>>>, __shared__ and cudaMalloc\n"
         'OCTET_SHARED(float[8], part);\nconst char* t = "asm <<<";\nint halfway(int half, int half_x = 2 * half);\n', None),
        ("kernels/fine.cuh", '#include "kernels/a/b.h"\n', None),
        ("base/device/primitives_core.cuh", 'asm volatile("bar.sync 0;");\n', None),
        ("kernels/asm.cu", 'asm volatile("nop;");\n', "inline assembly"),
        ("kernels/launch.cu", "kernel<<<1, 32>>>();\n", "launch syntax"),
        ("kernels/shared.cu", "extern __shared__ float x[];\n", "raw shared memory"),
        ("kernels/static.cu", "__shared__ float x[8];\n", "raw shared memory"),
        ("kernels/ldg.cu", "float x = __ldg(p);\n", "builtin"),
        ("kernels/cvta.cuh", "auto a = __cvta_generic_to_shared(p);\n", "builtin"),
        ("kernels/exp.cu", "float x = __expf(y);\n", "float builtin"),
        ("kernels/bf16.cu", "__nv_bfloat16 x;\n", "16-bit float type"),
        ("comm/runtime.cu", "cudaMemcpyAsync(a, b, c, d, e);\n", "CUDA runtime"),
        ("kernels/arch.cu", "#if __CUDA_ARCH__ >= 900\n", "condition on the compiler"),
        ("kernels/header.cu", "#include <cuda_bf16.h>\n", "CUDA header"),
        ("tests/kernels/groups.cu", "namespace cg = cooperative_groups;\n", "CUDA library"),
    )
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text, _ in cases:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        _, problems = check(root)
    expected = [(path, part) for path, _, part in cases if part is not None]
    failures = [f"{path}: expected a line with '{part}'" for path, part in expected
                if not any(line.startswith(path + ":") and part in line for line in problems)]
    if len(problems) != len(expected):
        failures += [f"expected {len(expected)} lines, found {len(problems)}:"] + problems
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
        files, problems = check(arguments.root)
        summary = f"{files} files, {len(problems)} violations"
    for problem in problems:
        print(problem)
    print(summary)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
