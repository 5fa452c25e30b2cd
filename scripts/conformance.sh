#!/usr/bin/env bash
# Runs the HTTP/1.1 conformance suite against the release binary: direct three times, since slow peers are given up only
# under short timeouts, and since a client must not see whether workers answer; then twice through a proxy before such a
# server, since a client must not see that either. Every case must pass.
# Usage: scripts/conformance.sh [direct|proxied]. H1SUITE names the runner, SKIP cases to leave out (`a,b`), MYRIAPOD a
# binary that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suite=${H1SUITE:-../shared/h1suite/run.py}
if [[ ! -f $suite ]]; then
    echo "skipped: no conformance runner at $suite; set H1SUITE to its run.py"
    exit 0
fi

[[ -n ${MYRIAPOD:-} ]] || cargo build --release --quiet --bin myriapod
binary="${MYRIAPOD:-${CARGO_TARGET_DIR:-target}/release/myriapod}"
work=$(mktemp -d)
pid=
behind=
trap 'kill $pid $behind 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir -p "$work/root/static"
for _ in {1..100}; do echo 'The quick brown fox jumps over the lazy dog.'; done >"$work/root/static/hello.txt"
ln -s /etc/passwd "$work/root/static/link"

# run WORD... : starts the binary on a port of the kernel's choice and leaves that in $port.
run() {
    rm -f "$work/stderr"
    "$binary" "$@" --listen 127.0.0.1:0 2>"$work/stderr" &
    pid=$!
    port=
    for _ in {1..100}; do
        port=$(grep -oE '^  listening +http://127\.0\.0\.1:[0-9]+' "$work/stderr" 2>/dev/null | grep -oE '[0-9]+$' | head -n 1 || true)
        [[ -n $port ]] && return
        sleep 0.05
    done
    cat "$work/stderr" >&2
    return 1
}

# serve FLAG... : a server of files and endpoints.
serve() {
    run "$work/root" --endpoints all --max-body 1m "$@"
}

# pass_on FLAG... : a proxy before a server; the flags are the proxy's, and the suite looks at the proxy alone.
pass_on() {
    serve
    behind=$pid
    printf '[[route]]\npath = "/*"\nproxy = "http://127.0.0.1:%s"\n' "$port" >"$work/site.toml"
    run --config "$work/site.toml" --max-body 1m "$@"
}

# judge OPTION... : runs the suite and fails unless every case passed, the SHOULD ones too.
judge() {
    python3 "$suite" --port "$port" --static-path /static/hello.txt --echo-path /echo --symlink-path /static/link \
        --max-body 1048576 --pid "$pid" --json "$work/out.json" ${SKIP:+--skip "$SKIP"} "$@"
    python3 -c 'import json, sys
table = json.load(open(sys.argv[1]))["table"]
sys.exit(sum(row["fail"] + row["error"] for row in table.values()) > 0)' "$work/out.json"
    for pid in $pid $behind; do
        kill "$pid"
        wait "$pid"
    done
    pid=
    behind=
}

if [[ ${1:-direct} == direct ]]; then
    serve
    judge
    serve --head-timeout 2s --body-timeout 2s --idle-timeout 3s --write-timeout 2s
    judge --slow-limit 8
    serve --dispatch queue --workers 2
    judge
fi
if [[ ${1:-proxied} == proxied ]]; then
    pass_on
    judge
    pass_on --head-timeout 2s --body-timeout 2s --idle-timeout 3s --write-timeout 2s
    judge --slow-limit 8
fi
