#!/usr/bin/env bash
# Every guard that a machine can check (style.md): usage: tools/lint.sh <build folder> <venv>
set -uo pipefail
cd "$(dirname "$0")/.."
build=$1
venv=$2
python="$venv/bin/python"
failed=0
passed=0

guard() {  # guard <name> <command…>
  local name=$1
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "lint: $name: ok"
  else
    failed=$((failed + 1))
    echo "lint: $name: FAILED"
    printf '%s\n' "$output" | tail -30
  fi
}

configuration_page() {
  "$build/uniscale" config --reference | diff -u docs/configuration.md - ||
    { echo "docs/configuration.md is not what the field tables say: run \`make docs\`"; return 1; }
}

format() { git ls-files '*.cc' '*.h' | xargs "$venv/bin/clang-format" --dry-run -Werror; }

guard layers "$python" tools/check_layers.py
guard names "$python" tools/check_names.py
guard headers "$python" tools/check_headers.py
guard server-links tools/check_server_links.sh "$build"
guard configuration-page configuration_page
guard format format
guard guards-can-fail "$python" -m unittest -q tests/guards_test.py
echo "lint: $passed passed, $failed failed"
[ "$failed" = 0 ]
