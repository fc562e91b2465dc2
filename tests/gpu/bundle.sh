#!/usr/bin/env bash
# Collects the GPU tests and benches of a build, with the shared libraries they need, in one archive
# for a machine that has nothing of ours:
#   tests/gpu/bundle.sh FILE.tar.xz [build folder]
# There: tar xf FILE.tar.xz && octet-gpu/run.sh
set -euo pipefail
out=$(realpath -m "${1:?tests/gpu/bundle.sh FILE.tar.xz [build folder]}")
cd "$(dirname "$0")/../.."
build=${2:-build/release}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 tests/gpu/bundle.py --build "$build" --into "$folder/octet-gpu"
cp tests/gpu/run.sh tests/gpu/record.py "$folder/octet-gpu/"
# Every program holds all kernels: a dictionary that reaches over some of them keeps them once.
tar -C "$folder" -c octet-gpu | xz -T1 --lzma2=preset=2,dict=192MiB >"$out"
bytes=$(stat -c %s "$out")
limit=$((60 * 1024 * 1024))
echo "$out: $bytes bytes"
if [[ $bytes -gt $limit ]]; then
  echo "the bundle is larger than $limit bytes; the largest files in it are:" >&2
  du -ab "$folder/octet-gpu" | sort -nr | head -8 >&2
  exit 1
fi
