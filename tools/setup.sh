#!/usr/bin/env bash
# Brings a bare Debian 12 or Ubuntu 24.04 to where uniscale builds: system packages that are missing (apt, as root or through
# sudo) and a .venv with the pinned wheels, those that examples and their tests use among them. Does nothing when all is there.
#   TORCH=<file or requirement>   a CPU wheel of torch, where the plain index would bring a CUDA build
#   PIP_ARGS="…"                  further arguments for pip (another index, a proxy)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

fail() { echo "setup: $*" >&2; exit 2; }

missing=()
while read -r package; do
  [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" = "install ok installed" ] || missing+=("$package")
done < tools/system_packages.txt
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "no apt-get here; install these packages by hand: ${missing[*]}"
  sudo=
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "neither root nor sudo; ask an administrator to install: ${missing[*]}"
    sudo=sudo
  fi
  echo "setup: installing ${#missing[@]} system packages"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq || fail "apt-get update failed; is a package mirror reachable?"
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get install failed: ${missing[*]}"
fi

major=$(c++ -dumpversion | cut -d. -f1)
[ "$major" -ge 12 ] || fail "the C++ compiler is too old: expected g++ 12 or newer, got $(c++ --version | head -1)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 is too old: expected 3.10 or newer, got $(python3 --version)"

stamp="$venv/.requirements"
wanted=$(cat requirements/build.txt requirements/examples.txt requirements/oracle.txt; echo "${TORCH:-}")
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || fail "python3 -m venv failed (is python3-venv installed?)"
  echo "setup: installing the pinned wheels into $venv"
  if [ -n "${TORCH:-}" ]; then
    # shellcheck disable=SC2086
    "$venv/bin/pip" install -q ${PIP_ARGS:-} "$TORCH" || fail "pip could not install TORCH=$TORCH"
  fi
  # shellcheck disable=SC2086
  "$venv/bin/pip" install -q ${PIP_ARGS:-} -r requirements/build.txt -r requirements/oracle.txt ||
    fail "pip could not install requirements/build.txt and requirements/oracle.txt"
  printf '%s\n' "$wanted" > "$stamp"
fi
