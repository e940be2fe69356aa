#!/bin/sh
# Three nodes beside PostgreSQL with two standbys of which any one has to have written a commit: durable
# inserts and transfers between accounts, by the same pgbench, in turn on the same machine.
#
#   perf/compare.sh [DIRECTORY]
#
# Settings by environment: CLIENTS (64, over three pgbench processes; each talks to a node of its own, or all
# to the primary), SECONDS_EACH (10), ROUNDS (3), ACCOUNTS (100000), PGBIN (the programs of PostgreSQL), and
# those of perf/cluster.sh. Prints transactions a second of each round, and the ratio of their medians. Both
# run with their defaults: what is compared is SERIALIZABLE here with READ COMMITTED there.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
results=${RESULTS:-${1:-$root/target/compare}}
clients=${CLIENTS:-64}
seconds=${SECONDS_EACH:-10}
rounds=${ROUNDS:-3}
accounts=${ACCOUNTS:-100000}
pgbin=${PGBIN:-/usr/lib/postgresql/15/bin}
home=$results/cluster

# Runs a program of PostgreSQL's, which do not run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# A port of PostgreSQL's, by the server's name; `postgres` is whom clients write to.
port() { if [ "$1" = postgres ]; then cat "$results/pg-primary.port"; else cat "$results/pg-$1.port"; fi; }

start_postgres() {
    free_port > "$results/pg-$1.port"
    as_postgres "$pgbin/pg_ctl" -s -w -D "$results/pg/$1" -l "$results/pg/$1.log" \
        -o "-p $(port "$1") -c listen_addresses=127.0.0.1 -c unix_socket_directories=$results/pg" start
}

postgres() {
    mkdir -p "$results/pg"
    if [ "$(id -u)" = 0 ]; then chown postgres "$results/pg"; fi
    as_postgres "$pgbin/initdb" -D "$results/pg/primary" -A trust -U phantom > "$results/initdb.log"
    cat >> "$results/pg/primary/postgresql.conf" <<CONF
shared_buffers = 1GB
max_wal_size = 4GB
checkpoint_timeout = 15min
max_connections = 200
CONF
    start_postgres primary
    for standby in a b; do
        as_postgres "$pgbin/pg_basebackup" -R -c fast -D "$results/pg/$standby" \
            -d "host=127.0.0.1 port=$(port primary) user=phantom application_name=$standby"
        start_postgres "$standby"
    done
    # The name by which the standbys have to be known came with -R.
    query primary "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (a, b)'"
    query primary "SELECT pg_reload_conf()" > /dev/null
    until [ "$(query primary "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")" = 2 ]; do
        sleep 0.2
    done
}

stop() {
    trap - EXIT INT TERM
    for server in a b primary; do
        [ ! -d "$results/pg/$server" ] || as_postgres "$pgbin/pg_ctl" -s -m fast -D "$results/pg/$server" stop || true
    done
}

# Where a node's PostgreSQL door is, by its ready file.
door() { sed 's/.*"pg":"[^"]*:\([0-9]*\)".*/\1/' "$home/ready-$1"; }

# The port for the k-th pgbench: a node, or the primary.
port_of() { if [ "$1" = phantom ]; then door "$2"; else port "$1"; fi; }

# The only value of a query: of the first node, or of a server of PostgreSQL's by its name.
query() {
    if [ "$1" = phantom ]; then at=$(door 1) base=phantom; else at=$(port "$1") base=postgres; fi
    psql -X -q -At -h 127.0.0.1 -p "$at" -U phantom -d "$base" -v ON_ERROR_STOP=1 -c "$2"
}

fill() {
    query "$1" 'CREATE TABLE kept (id bigint PRIMARY KEY, n bigint NOT NULL, payload text NOT NULL)'
    query "$1" 'CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)'
    query "$1" "INSERT INTO account SELECT id, 1000 FROM generate_series(1, $accounts) id"
}

# Transactions a second of a script against one of the two.
run() {
    base=postgres
    [ "$1" = postgres ] || base=phantom
    pids=
    for part in 1 2 3; do
        pgbench -n -h 127.0.0.1 -p "$(port_of "$1" "$part")" -U phantom -M prepared \
            -c $(((clients + part - 1) / 3)) -j 1 -T "$seconds" -f "$results/$2.sql" \
            -D accounts="$accounts" "$base" > "$results/$1-$2-$part.txt" 2>&1 &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid" || { cat "$results/$1-$2"-*.txt >&2; exit 1; }
    done
    sed -n 's/^tps = \([0-9]*\).*/\1/p' "$results/$1-$2"-*.txt | awk '{ sum += $1 } END { print sum }'
}

median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# Both in turn, and which of them did how much more.
compare() {
    here='' there=''
    for round in $(seq "$rounds"); do
        ours=$(run phantom "$1")
        theirs=$(run postgres "$1")
        here="$here $ours" there="$there $theirs"
        printf '%-9s round %s: PhantomDB %8s/s   PostgreSQL %8s/s\n' "$1" "$round" "$ours" "$theirs"
    done
    # shellcheck disable=SC2086 # one argument a figure
    printf '%-9s medians: PhantomDB %8s/s   PostgreSQL %8s/s   %s times\n' "$1" "$(median $here)" "$(median $there)" \
        "$(echo "$(median $here) $(median $there)" | awk '{ printf "%.2f", $1 / $2 }')"
}

# What ran must be there, and no money lost.
books() {
    for which in phantom postgres; do
        money=$(query "$which" 'SELECT sum(balance) FROM account')
        [ "$money" = $((accounts * 1000)) ] || { echo "$which: $money of money" >&2; exit 1; }
        echo "$which: $(query "$which" 'SELECT count(*) FROM kept') rows, all money there"
    done
}

# All partitions on all nodes, and leaders on each.
settle() {
    spread="SELECT count(DISTINCT leader_node) = 3 AND bool_and(array_length(voters, 1) = 3) FROM phantom.partitions"
    for _ in $(seq 300); do
        [ "$(query phantom "$spread")" != t ] || return 0
        sleep 0.2
    done
    echo "the partitions are not spread after a minute" >&2
    exit 1
}

measure() {
    settle
    for which in phantom postgres; do fill "$which"; done
    cat > "$results/insert.sql" <<'SQL'
\set id random(1, 9000000000000000000)
INSERT INTO kept VALUES (:id, 0, 'a hundred bytes, as a row has them: 0123456789012345678901234567890123456789012345678901234567890123');
SQL
    cat > "$results/transfer.sql" <<'SQL'
\set one random(1, :accounts)
\set other random(1, :accounts)
\set first least(:one, :other)
\set second greatest(:one, :other)
\set amount random(1, 10)
BEGIN;
UPDATE account SET balance = balance - :amount WHERE id = :first;
UPDATE account SET balance = balance + :amount WHERE id = :second;
COMMIT;
SQL
    compare insert
    compare transfer
    books
}

if [ "${COMPARE_MEASURES:-}" = 1 ]; then
    measure
    exit
fi
rm -rf "$results"
mkdir -p "$home"
trap stop EXIT
trap 'exit 130' INT TERM
postgres
RESULTS=$results COMPARE_MEASURES=1 COMMAND="$root/perf/compare.sh" NODES=3 "$root/perf/cluster.sh" "$home"
