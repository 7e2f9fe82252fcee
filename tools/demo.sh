#!/usr/bin/env bash
# The whole thread on synthetic logs: marketplace -> samples -> training -> evaluation -> server -> one ranked request.
# usage: tools/demo.sh [build folder] [output folder] [flags for every verb, such as --set synth.num_users=300]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
out=${2:-demo}
shift $(($# < 2 ? $# : 2))
config=examples/synth/run.toml
us="$build/uniscale"

step() { printf '\n== %s\n' "$*"; }

mkdir -p "$out"
flags=(--set "synth.store=$out/store" --set "es3.store=$out/store" --set "es3.samples=$out/samples"
         --set "dataset.samples=$out/samples" --set "train.store=$out/store" --set "train.output=$out/train"
         --set "train.repository=$out/models" "$@")

step "1/5 synth: a marketplace writes its logs to $out/store"
"$us" synth --config $config "${flags[@]}"
step "2/5 samples: logs become list-wise training samples in $out/samples"
"$us" samples --config $config "${flags[@]}"
step "3/5 train: the first days, in time order; exports a bundle to $out/models"
rm -rf "$out/train"
"$us" train --config $config "${flags[@]}"
step "4/5 eval: the day after, search requests, exposed candidates, native labels"
"$us" eval --config $config "${flags[@]}" --model "$out/models/main" --json "$out/eval.json"
step "5/5 serve: load the bundle, replay its golden requests, rank one search of the last day anew"
rm -f "$out/ports"
"$us" serve --repository "$out/models" --port 0 --metrics-port 0 --set serve.grpc_port=0 --port-file "$out/ports" 2> "$out/server.log" &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do [ -s "$out/ports" ] && break; sleep 0.1; done
[ -s "$out/ports" ] || { echo "demo: the server did not start:"; cat "$out/server.log"; exit 1; }
port=$(head -1 "$out/ports")
"${VENV:-.venv}/bin/python" tools/rank_stored.py "$out/store" --url "http://127.0.0.1:$port"
kill -TERM $server
wait $server
trap - EXIT
step "done: evaluation in $out/eval.json, server log in $out/server.log"
echo "To see more rankings: $us serve --repository $out/models, then http://localhost:8000/ui"
