#!/usr/bin/env bash
# The whole thread on real logs: trivago's rows -> log store -> samples -> model -> evaluation beside three baselines.
# usage: examples/trivago/run.sh [build folder] [output folder] [data folder]
# The data are not part of this repository: without them, or without the duckdb wheel, the script says so and ends with 0.
# Environment: US_PYTHON (a Python with duckdb), US_TRIVAGO_EVERY=N (one of N users, for a quick look).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build}
out=${2:-$root/build/trivago}
data=${3:-${US_TRIVAGO_DATA:-$root/../shared/data/trivago-recsys2019-100k}}
config=$root/examples/trivago/run.toml
us=$(realpath -m "$build")/uniscale
out=$(realpath -m "$out")
data=$(realpath -m "$data")

if [ ! -f "$data/trivago_val_100k.parquet" ]; then
  echo "skipped: no trivago_val_100k.parquet in $data (docs/examples/trivago.md says where it comes from)"
  exit 0
fi
python=${US_PYTHON:-}
[ -n "$python" ] || { [ -x "$root/.venv/bin/python" ] && python=$root/.venv/bin/python || python=python3; }
case $python in */*) python=$(realpath -sm "$python") ;; esac  # a link into a virtual environment stays one
if ! "$python" -c 'import duckdb' 2> /dev/null; then
  echo "skipped: $python has no duckdb; install it with: $python -m pip install -r $root/requirements/examples.txt"
  exit 0
fi

[ -x "$us" ] || { echo "run.sh: no $us; build it first (make build), or name the build folder" >&2; exit 2; }
step() { printf '\n== %s\n' "$*"; }

mkdir -p "$out"
cd "$out"  # the paths of run.toml start here
step "1/7 prepare.sql: log rows become raw requests and events in $out/raw"
"$python" "$root/examples/trivago/prepare.py" "$out" --data "$data" --every "${US_TRIVAGO_EVERY:-1}"
step "2/7 ingest: raw files become the log store $out/store"
"$us" ingest --config "$config"
step "3/7 samples: the lists of both days, labelled"
"$us" samples --config "$config"
step "4/7 train: the first day; exports a bundle to $out/models"
rm -rf train
"$us" train --config "$config"
step "5/7 eval: the model on the second day"
"$us" eval --config "$config" --model models/trivago --json model.json
step "6/7 eval: three baselines on the same rows"
for baseline in shown_order cheapest popularity; do
  "$us" eval --scores "baselines/$baseline.parquet" --json "$baseline.json"
done
step "7/7 samples once more, views of a hotel's page as clicks of another domain: what attribution adds"
"$us" ingest --config "$root/examples/trivago/views.toml"
"$us" samples --config "$root/examples/trivago/views.toml"
step "done: $out/model.json and the JSON of each baseline beside it"
