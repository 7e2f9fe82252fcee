#!/usr/bin/env bash
# The binaries of the online half need neither torch nor Arrow. usage: check_server_links.sh <binary>…
set -euo pipefail
for binary in "$@"; do
  needed=$(readelf -d "$binary" | grep NEEDED)
  if grep -E 'torch|c10|arrow|parquet|python' <<< "$needed"; then
    echo "$binary needs a library of the offline half"
    exit 1
  fi
done
