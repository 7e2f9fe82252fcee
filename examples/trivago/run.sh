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
us=$build/uniscale

if [ ! -f "$data/trivago_val_100k.parquet" ]; then
  echo "skipped: no trivago_val_100k.parquet in $data (docs/examples/trivago.md says where it comes from)"
  exit 0
fi
python=${US_PYTHON:-}
[ -n "$python" ] || { [ -x "$root/.venv/bin/python" ] && python=$root/.venv/bin/python || python=python3; }
if ! "$python" -c 'import duckdb' 2> /dev/null; then
  echo "skipped: $python has no duckdb; install it with: $python -m pip install -r requirements/examples.txt"
  exit 0
fi

step() { printf '\n== %s\n' "$*"; }
set_out=(--set "ingest.store=$out/store" --set "source.requests.path=$out/raw/requests.parquet"
         --set "source.events.path=$out/raw/events.parquet" --set "es3.store=$out/store" --set "es3.samples=$out/samples"
         --set "dataset.samples=$out/samples" --set "train.store=$out/store" --set "train.output=$out/train"
         --set "train.repository=$out/models")

mkdir -p "$out"
step "1/6 prepare.sql: log rows become raw requests and events in $out/raw"
"$python" "$root/examples/trivago/prepare.py" "$out" --data "$data" --every "${US_TRIVAGO_EVERY:-1}"
step "2/6 ingest: raw files become the log store $out/store"
"$us" ingest --config "$config" "${set_out[@]}"
step "3/6 samples: the lists of both days, labelled"
"$us" samples --config "$config" "${set_out[@]}"
step "4/6 train: the first day; exports a bundle to $out/models"
rm -rf "$out/train"
"$us" train --config "$config" "${set_out[@]}"
step "5/6 eval: the model on the second day"
"$us" eval --config "$config" "${set_out[@]}" --model "$out/models/trivago" --json "$out/model.json"
step "6/6 eval: three baselines on the same rows"
for baseline in shown_order cheapest popularity; do
  "$us" eval --scores "$out/baselines/$baseline.parquet" --json "$out/$baseline.json"
done
step "done: $out/model.json and the JSON of each baseline beside it"
