#!/usr/bin/env bash
# Runs every example against a server of its own and compares what the queries print: run.sh [WEIR]
# Without a binary named, that of the last release build.
set -euo pipefail
cd "$(dirname "$0")/.."
WEIR=${1:-target/release/weir}
[ -x "$WEIR" ] || { echo "there is no $WEIR: run cargo build --release, or name a binary: examples/run.sh WEIR" >&2; exit 1; }
# shellcheck source=examples/lib.sh
. examples/lib.sh

create() {
    sql -f "$1" > "$WORK/out" || fail "$1"
}

start_server
create examples/clicks/setup.sql
expect examples/clicks/query.sql examples/clicks/expected.txt
echo "clicks: as expected"

create examples/nexmark/setup.sql
expect examples/nexmark/query.sql examples/nexmark/expected.txt
echo "nexmark: as expected"
stop_server
rm -rf "$WORK/data"

start_server
# The script's port may be taken here: the server's own and the next are free.
tcp=$((PORT + 1))
sed "s/127\.0\.0\.1:7878/127.0.0.1:$tcp/" examples/iot/setup.sql > "$WORK/setup.sql"
create "$WORK/setup.sql"
bash examples/iot/feed.sh examples/iot/readings.json "$tcp"
expect examples/iot/query.sql examples/iot/expected.txt
bash examples/iot/feed.sh examples/iot/late.json "$tcp"
expect examples/iot/late.sql examples/iot/late-expected.txt
echo "iot: as expected"
