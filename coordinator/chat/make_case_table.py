#!/usr/bin/env python3
"""Writes case_table.cc: Python's str.upper and str.lower of single characters, as ranges."""

import argparse
import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)


def ranges(convert):
    """[first, last, stride, delta] of the characters that become one other character, and those that
    become several."""
    rows, several = [], []
    for code in range(0x80, 0x110000):
        if code in SURROGATES or (converted := convert(chr(code))) == chr(code):
            continue
        if len(converted) != 1:
            several.append(code)
            continue
        delta = ord(converted) - code
        first, last, stride, row_delta = rows[-1] if rows else (0, 0, 0, None)
        if row_delta == delta and (code - last == stride or (first == last and code - last == 2)):
            rows[-1] = (first, code, code - last, delta)
        else:
            rows.append((code, code, 1, delta))
    return rows, several


def lines(items, per_line):
    texts = [str(item).replace("(", "{").replace(")", "}") for item in items]
    chunks = [texts[i : i + per_line] for i in range(0, len(texts), per_line)]
    return "\n".join("    " + ", ".join(chunk) + "," for chunk in chunks)


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    upper, upper_several = ranges(str.upper)
    lower, _ = ranges(str.lower)
    sys.stdout.write(f"""// Made by make_case_table.py from Unicode {unicodedata.unidata_version}. Not edited by hand.
#include "coordinator/chat/case_table.h"

namespace octet::chat {{
// clang-format off
const std::vector<CaseRange> kUpperRanges = {{
{lines(upper, 4)}
}};
const std::vector<char32_t> kUpperToSeveral = {{
{lines(upper_several, 12)}
}};
const std::vector<CaseRange> kLowerRanges = {{
{lines(lower, 4)}
}};
// clang-format on
}}  // namespace octet::chat
""")


if __name__ == "__main__":
    main()
