#!/usr/bin/env bash
# launch/build.sh [preset] [target...]: configures and builds into build/<preset>/ (release, debug,
# asan, tsan); binaries land in build/<preset>/bin/. The only spelling of a build.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true

if [[ ! -f build/$preset/build.ninja ]]; then
  echo "== configuring build/$preset"
  mkdir -p build
  if ! cmake --preset "$preset" >"build/configure-$preset.log" 2>&1; then
    cat "build/configure-$preset.log" >&2
    exit 1
  fi
fi
echo "== building build/$preset"
if [[ $# -gt 0 ]]; then
  cmake --build --preset "$preset" --target "$@"
else
  cmake --build --preset "$preset"
fi
