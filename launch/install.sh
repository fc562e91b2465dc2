#!/usr/bin/env bash
# Installs the Debian packages of launch/packages.txt that are missing, and says which.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

missing=()
while read -r package; do
  if [[ -z $package || $package == \#* ]]; then continue; fi
  if [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) != "install ok installed" ]]; then
    missing+=("$package")
  fi
done <"$here/packages.txt"

if [[ ${#missing[@]} -eq 0 ]]; then
  echo "== packages: all there"
  exit 0
fi
echo "== packages: installing ${missing[*]}"
if [[ $(id -u) -eq 0 ]]; then as_root=(); else as_root=(sudo); fi
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -q &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "the packages above could not be installed; on a system other than Debian 12, install what launch/packages.txt names" >&2
  exit 1
fi
rm -f "$log"
