#!/usr/bin/env bash
# The binaries of the online half need neither torch nor Arrow, and `uniscale` itself no torch: its start costs every verb
# 0.2 s. usage: check_server_links.sh <build folder>
set -euo pipefail
check() {
  needed=$(readelf -d "$1" | grep NEEDED)
  if grep -E "$2" <<< "$needed"; then
    echo "$1 needs a library that it must not need"
    exit 1
  fi
}
check "$1/uniscale-server" 'torch|c10|arrow|parquet|python'
check "$1/uniscale-gateway" 'torch|c10|arrow|parquet|python|grpc'
check "$1/uniscale" 'torch|c10|python|grpc'
