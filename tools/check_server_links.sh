#!/usr/bin/env bash
# The serving binary needs neither torch nor Arrow. usage: check_server_links.sh <binary>
set -euo pipefail
needed=$(readelf -d "$1" | grep NEEDED)
if grep -E 'torch|c10|arrow|parquet|python' <<< "$needed"; then
  echo "$1 needs a library of the offline half"
  exit 1
fi
