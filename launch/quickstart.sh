#!/usr/bin/env bash
# Installs what is missing, builds, serves the demo model on 2 CPU ranks (int4 weights, int8 KV
# cache), asks it to go on from a prompt, prints the answer, and stops the service.
#   launch/quickstart.sh ["prompt"]
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-"And it came to pass in the days of"}
address=${OCTET_ADDRESS:-127.0.0.1:50051}
bin=build/release/bin

launch/install.sh
launch/build.sh release octet octet-worker

echo "== serving launch/demo_model/model on $address: 2 ranks, int4 weights, int8 KV cache"
"$bin/octet" serve launch/demo_model/model --tp 2 --weights int4 --kv int8 --grpc "$address" &
server=$!
stop() {
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
}
trap stop EXIT

until "$bin/octet" health --server "$address" >/dev/null; do
  if ! kill -0 "$server" 2>/dev/null; then
    echo "the service did not start; its last lines are above" >&2
    exit 1
  fi
  sleep 0.2
done

echo "== octet generate \"$prompt\" --max-tokens 64"
"$bin/octet" generate "$prompt" --server "$address" --max-tokens 64
echo "== done; start it yourself with: $bin/octet serve launch/demo_model/model --tp 2 --weights int4"
