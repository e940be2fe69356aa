#!/bin/sh
# Starts three nodes on free ports of loopback, and ends them when it ends.
#
#   perf/cluster.sh [DIRECTORY]
#
# Settings by environment: NODES (3), CORES (1), COPIES (3, of each partition), PHANTOMDB (the
# program; a release build of this tree without it). With COMMAND that is run, with the nodes' URLs as its
# arguments, and then all ends; without it the nodes run until Ctrl-C. Logs and data stay in the directory.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
home=${1:-$root/target/cluster}
nodes=${NODES:-3}
cores=${CORES:-1}
copies=${COPIES:-3}
if [ -z "${PHANTOMDB:-}" ]; then
    (cd "$root" && cargo build --release --package phantomdb)
    PHANTOMDB=$root/target/release/phantomdb
fi
mkdir -p "$home"

started=
stop() {
    trap - EXIT INT TERM
    for pid in $started; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $started; do wait "$pid" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT TERM

# Where a node's native door is, by its ready file.
door() { sed 's/.*"native":"\([^"]*\)".*/\1/' "$home/ready-$1"; }

urls=
for node in $(seq "$nodes"); do
    rm -f "$home/ready-$node"
    set -- --data-dir "$home/node-$node" --listen 127.0.0.1:0 --cores "$cores" \
        --replication-factor "$copies" --ready-file "$home/ready-$node"
    [ "$node" = 1 ] || set -- "$@" --join "$(door 1)"
    "$PHANTOMDB" start "$@" 2>> "$home/log-$node" &
    pid=$!
    started="$started $pid"
    while [ ! -s "$home/ready-$node" ]; do
        kill -0 "$pid" 2>/dev/null || { tail -n 3 "$home/log-$node" >&2; exit 1; }
        sleep 0.1
    done
    url=phantom://phantom@$(door "$node")/phantom
    urls="$urls $url"
    echo "node $node: pid $pid, phantomdb sql --url $url" >&2
done

if [ -n "${COMMAND:-}" ]; then
    # shellcheck disable=SC2086 # one argument a node
    "$COMMAND" $urls
else
    wait
fi
