# What the examples' scripts share: a server of their own on a temporary folder, and a client. To be sourced.
# Needs WEIR, the binary. Sets WORK, the folder.

WORK=$(mktemp -d)
SERVER=
trap 'stop_server; rm -rf "$WORK"' EXIT

fail() {
    echo "FAILED: $*" >&2
    [ ! -f "$WORK/log" ] || tail -n 20 "$WORK/log" >&2
    exit 1
}

# Starts a server on $WORK/data, and waits until it takes connections. Sets PORT.
start_server() {
    : > "$WORK/log"
    "$WEIR" serve --listen 127.0.0.1:0 --data-dir "$WORK/data" --barrier-interval 100ms "$@" 2>> "$WORK/log" &
    SERVER=$!
    # A killed job is no news.
    disown
    local end=$((SECONDS + 60))
    while [ "$SECONDS" -lt "$end" ]; do
        PORT=$(sed -n 's/.*ready for connections.*address=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$WORK/log")
        [ -z "$PORT" ] || return 0
        kill -0 "$SERVER" 2> /dev/null || fail "the server did not start"
        sleep 0.1
    done
    fail "the server is not ready after a minute"
}

kill_server() {
    kill -9 "$SERVER"
    while kill -0 "$SERVER" 2> /dev/null; do sleep 0.02; done
    SERVER=
}

stop_server() {
    [ -n "$SERVER" ] || return 0
    kill "$SERVER" 2> /dev/null || true
    while kill -0 "$SERVER" 2> /dev/null; do sleep 0.02; done
    SERVER=
}

# psql, or `weir sql` where there is none; WEIR_CLIENT=psql or WEIR_CLIENT=weir chooses.
if [ "${WEIR_CLIENT:-psql}" = psql ] && command -v psql > /dev/null; then
    CLIENT=psql
    sql() { psql -X -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PORT" -U root -d dev "$@"; }
else
    CLIENT="weir sql"
    sql() { "$WEIR" sql -h 127.0.0.1 -p "$PORT" -U root -d dev "$@"; }
fi

# One value.
value() {
    sql -c "$1" | sed -n '3s/^ *//p'
}

# The rows that a script prints: neither the tags of its other statements, nor spaces and blank lines at the ends.
rows() {
    sql -f "$1" | sed -E '/^[A-Z_]+( [A-Z0-9]+)*$/d; s/ +$//' |
        awk 'NF { if (blank && any) print ""; print; any = 1 } { blank = !NF }'
}

# Runs the queries of $1 again and again until they print what $2 holds.
expect() {
    local end=$((SECONDS + 60))
    until rows "$1" > "$WORK/got" || fail "$1"; cmp -s "$WORK/got" "$2"; do
        [ "$SECONDS" -lt "$end" ] || break
        sleep 0.1
    done
    cmp -s "$WORK/got" "$2" || diff "$2" "$WORK/got" >&2 || fail "$1 does not print what $2 holds (<: wanted, >: printed)"
}
