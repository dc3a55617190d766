#!/usr/bin/env bash
# The main job in one command: continuous windows over rows that come in through psql, whole after a kill -9.
#
# Builds (CARGO_PROFILE=debug for a debug build; WEIR=path for a binary that is there), works on a temporary folder and
# removes it.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${WEIR:-}" ]; then
    command -v cargo > /dev/null || { echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }
    command -v cc > /dev/null || { echo "a C compiler is missing: install one, such as apt-get install gcc" >&2; exit 1; }
    case "${CARGO_PROFILE:-release}" in
        debug | dev) cargo build && WEIR=target/debug/weir ;;
        release) cargo build --release && WEIR=target/release/weir ;;
        *) cargo build --profile "$CARGO_PROFILE" && WEIR=target/$CARGO_PROFILE/weir ;;
    esac
fi
# shellcheck source=examples/lib.sh
. examples/lib.sh

BIDS=examples/demo/bids.csv
TOTAL=$(wc -l < "$BIDS")

# INSERTs of twenty bids each, from the row after $1 on.
inserts() {
    tail -n +$(($1 + 1)) "$BIDS" | awk -F, '
        { row = sprintf("(%s, %s, %s, %s, \x27%s\x27, \x27%s\x27)", $1, $2, $3, $4, $5, $6) }
        NR % 20 == 1 { printf "%sINSERT INTO bid VALUES", (NR > 1 ? ";\n" : ""); comma = "" }
        { printf "%s %s", comma, row; comma = "," }
        END { if (NR) print ";" }'
}

echo "== a server on an empty folder, $CLIENT for a client"
start_server
sql -f examples/demo/setup.sql | sed 's/^/   /'

echo "== $CLIENT inserts $TOTAL bids"
inserts 0 > "$WORK/inserts.sql"
sql -f "$WORK/inserts.sql" > "$WORK/acknowledged" 2> "$WORK/broken" &
FEED=$!
until [ "$(value 'SELECT count(*) FROM bid')" -ge $((TOTAL / 2)) ]; do
    kill -0 "$FEED" 2> /dev/null || fail "the inserts ended early: $(cat "$WORK/broken")"
done

echo "== half way: kill -9"
kill_server
! wait "$FEED" || fail "the inserts had ended before the kill"
# psql prints INSERT 0 20, weir sql INSERT 20.
ACKNOWLEDGED=$(awk '/^INSERT/ { n += $NF } END { print n + 0 }' "$WORK/acknowledged")

echo "== the same folder, a new server"
start_server
HELD=$(value 'SELECT count(*) FROM bid')
echo "   acknowledged before the kill: $ACKNOWLEDGED rows; in the table after it: $HELD"
# The one INSERT that was under way is there as a whole or not at all.
[ "$HELD" -eq "$ACKNOWLEDGED" ] || [ "$HELD" -eq $((ACKNOWLEDGED + 20)) ] || fail "rows were lost or doubled"

echo "== $CLIENT inserts the other $((TOTAL - HELD)) bids"
inserts "$HELD" > "$WORK/inserts.sql"
sql -f "$WORK/inserts.sql" > "$WORK/out" || fail "the inserts"
expect examples/demo/query.sql examples/demo/expected.txt
sed 's/^/   /' "$WORK/got"
stop_server
echo "== the windows are whole: each bid is counted once, as in examples/demo/expected.txt"
