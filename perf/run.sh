#!/bin/sh
# Measures the machine's floor, then the workloads of `phantomdb bench` against a node of its own.
#
#   perf/run.sh [RESULTS-DIRECTORY]
#
# Settings by environment: CORES (2), SECONDS_EACH (10), ROWS (1000000), DATA_DIR (a new directory
# beside the results). Leaves floor.txt, host.txt and one JSON file a run in the results directory.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
results=${1:-$root/target/perf}
cores=${CORES:-2}
seconds=${SECONDS_EACH:-10}
rows=${ROWS:-1000000}
data=${DATA_DIR:-$results/data}

cd "$root"
cargo build --release --package phantomdb --package phantomdb-perf
phantomdb=$root/target/release/phantomdb
mkdir -p "$results" "$data"
rm -f "$results/ready"

uname -a > "$results/host.txt"
"$phantomdb" check --data-dir "$data" >> "$results/host.txt" || true
"$root/target/release/phantomdb-perf" "$data" 3 | tee "$results/floor.txt"

"$phantomdb" start --data-dir "$data/node" --listen 127.0.0.1:0 --cores "$cores" \
    --ready-file "$results/ready" 2> "$results/node.log" &
node=$!
trap 'kill -TERM "$node" 2>/dev/null; wait "$node" 2>/dev/null || true' EXIT INT TERM
while [ ! -s "$results/ready" ]; do
    kill -0 "$node" 2>/dev/null || { cat "$results/node.log" >&2; exit 1; }
    sleep 0.1
done
url=phantom://phantom@$(sed 's/.*"native":"\([^"]*\)".*/\1/' "$results/ready")/phantom

# workload clients in-flight
while read -r workload clients pipeline; do
    "$phantomdb" bench "$workload" --url "$url" --clients "$clients" --pipeline "$pipeline" \
        --duration "${seconds}s" --rows "$rows" --json "$results/$workload-$clients-$pipeline.json" || true
done <<RUNS
point-read 1 1
point-read 16 1
point-read 64 1
point-read 16 32
range-read 16 1
insert 1 1
insert 64 1
insert 16 32
update 64 1
mixed 64 1
RUNS
