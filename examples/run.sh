#!/usr/bin/env bash
# Runs every example, and the tour of README.md, against a server of its own and compares what the queries print:
# run.sh [WEIR]
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
stop_server
rm -rf "$WORK/data"

# The tour's statements, each block with the output that stands below it.
mkdir "$WORK/tour"
awk -v dir="$WORK/tour/" '
    /^## / { tour = /tour/ }
    !tour { next }
    /^```sql$/ { file = sprintf("%s%02d.sql", dir, ++block); next }
    /^```text$/ { file = sprintf("%s%02d.txt", dir, block); next }
    /^```/ { file = ""; next }
    file { print > file }' README.md
start_server
for block in "$WORK"/tour/*.sql; do
    if [ -f "${block%.sql}.txt" ]; then
        expect "$block" "${block%.sql}.txt"
    else
        create "$block"
    fi
done
# What a restart takes back would be missing from the last block.
kill_server
start_server
expect "$block" "${block%.sql}.txt"
echo "tour: as in README.md"
