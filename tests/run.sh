#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test that needs no GPU.
#   tests/run.sh [preset] [ctest arguments...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true

launch/install.sh
launch/build.sh "$preset"
echo "== testing build/$preset"
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j 2 "$@"
