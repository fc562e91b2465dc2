#!/usr/bin/env bash
# The one command for a machine with a GPU: runs every test that needs one and writes a JSON record.
#   tests/gpu/run.sh [--out FILE] [--only REGEX] [--random-seconds N] [--no-sanitizer] [--no-benches]
# In a bundle (tests/gpu/bundle.sh) it runs what the bundle holds and needs nothing but a driver,
# python3 and the C library; in a checkout it builds first (nvcc, and what launch/packages.txt names).
# Exits 0 when all passed, 1 when something failed, 2 when no device opens.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [[ -f $here/manifest.json ]]; then
  export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  exec python3 "$here/record.py" --manifest "$here/manifest.json" "$@"
fi
cd "$here/../.."
launch/build.sh release >&2
python3 tests/gpu/bundle.py --build build/release --manifest-only build/release/gpu_manifest.json
exec python3 tests/gpu/record.py --manifest build/release/gpu_manifest.json "$@"
