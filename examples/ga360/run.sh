#!/usr/bin/env bash
# Sessions of the Google Merchandise Store -> log store -> samples with attribution -> reports -> model -> evaluation.
# Two readings of "search": `results`, the shop's search lists (their query text is stripped), and `category`, its category lists with the
# category's name as query. The model is of the second.
# usage: examples/ga360/run.sh [build folder] [output folder] [data folder]
# The data are not part of this repository: without them, or without the duckdb wheel, the script says so and ends with 0.
# Environment: US_PYTHON (a Python with duckdb), US_GA360_SPANS=N (only the first N spans of days, for a quick look; no model).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build}
out=${2:-$root/build/ga360}
data=${3:-${US_GA360_DATA:-$root/../shared/data/ga360-merchandise-store}}
example=$root/examples/ga360
us=$(realpath -m "$build")/uniscale
out=$(realpath -m "$out")
data=$(realpath -m "$data")

if [ ! -f "$data/sessions.jsonl.zst" ]; then
  echo "skipped: no sessions.jsonl.zst in $data (docs/examples/ga360.md says where it comes from)"
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
step "1/5 prepare.sql: sessions become raw requests, events and items in $out/raw"
"$python" "$example/prepare.py" "$out" --data "$data"
for domain in results category; do
  flags=(--config "$example/run.toml" --set "schema.search_domain=\"$domain\"" --set "ingest.store=\"$domain/store\""
    --set "es3.store=\"$domain/store\"" --set "es3.samples=\"$domain/samples\"")
  # Lists without a query pass no relevance gate.
  [ "$domain" = category ] || flags+=(--set 'es3.relevance_gate="none"')
  step "2/5 ingest: raw files become the log store $out/$domain/store"
  "$us" ingest "${flags[@]}" 2> "$domain-ingest.log" || { cat "$domain-ingest.log" >&2; exit 1; }
  step "3/5 samples: every day, $domain lists are searched for, the others are other domains"
  # The sample of sessions has no row on some days: days are built span by span. A day that fails a gate is kept aside (exit 4).
  failed=0
  while read -r from to; do
    code=0
    "$us" samples "${flags[@]}" --from "$from" --to "$to" > "$domain-samples.txt" 2> "$domain-samples.log" || code=$?
    case $code in 0) ;; 4) failed=1; cat "$domain-samples.log" ;; *) cat "$domain-samples.log" >&2; exit "$code" ;; esac
  done < <(head -n "${US_GA360_SPANS:-999}" raw/spans.txt)
  [ "$failed" = 0 ] || echo "the days above are kept aside; their reports: $out/$domain/samples/reports/failed"
  "$python" "$example/summary.py" "$domain/samples" --json "$domain.json"
done
if [ -n "${US_GA360_SPANS:-}" ]; then
  step "done: reports in $out/category/samples/reports"
  exit 0
fi
step "4/5 train: category lists of 2016-11-22 … 2017-04-04; exports a bundle to $out/models"
rm -rf train
"$us" train --config "$example/run.toml"
step "5/5 eval: the lists of 2017-04-06 … 2017-06-07, beside two baselines on the same rows"
"$us" eval --config "$example/run.toml" --model models/ga360 --json model.json
"$python" "$example/baselines.py" category/samples baselines --train 2016-11-22 2017-04-04 --evaluate 2017-04-06 2017-06-07
for baseline in shown_order popularity; do
  "$us" eval --scores "baselines/$baseline.parquet" --json "$baseline.json"
done
step "done: pages of every day in $out/category/samples/reports, numbers in $out/*.json"
