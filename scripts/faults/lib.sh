# Shared by the scripts beside it: a server that ends with the script, and the checks that follow every fault.
# Each script exits 0 when the server behaved, 77 when the fault cannot be injected here, and says which in its last line.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
server=${MYRIAPOD:?names the binary}
work=$(mktemp -d)
pid=
trap finish EXIT

finish() {
    [[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null || true
    # Clients in the background would hold the caller's pipe open.
    local job
    for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null || true; done
    rm -rf "$work"
}

skip() {
    echo "$*"
    exit 77
}

fail() {
    echo "failed: $*"
    [[ ! -f $work/stderr ]] || cat "$work/stderr"
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "needs $tool"
    done
}

# start [PREFIX ... --] FLAG ...: one reactor, the admin listener on a unix socket; sets pid and address.
start() {
    local prefix=()
    if [[ " $* " == *" -- "* ]]; then
        while [[ $1 != -- ]]; do prefix+=("$1") && shift; done
        shift
    fi
    rm -f "$work/stderr"
    "${prefix[@]}" "$server" --listen 127.0.0.1:0 --admin "unix:$work/admin" --reactors 1 --pin off "$@" \
        2>"$work/stderr" </dev/null &
    local child=$!
    pid=$child
    for _ in $(seq 200); do
        ! grep -q '^  serving' "$work/stderr" 2>/dev/null || break
        kill -0 "$child" 2>/dev/null || fail "it does not start"
        sleep 0.05
    done
    address=$(sed -n 's|^  listening *http://\([^/]*\)/.*|\1|p' "$work/stderr")
    [[ -n $address ]] || fail "it says no address"
    # Behind a tracer the server is its child.
    if ((${#prefix[@]} > 0)) && [[ -n $(pgrep -P "$child" || true) ]]; then
        pid=$(pgrep -P "$child" | head -n 1)
    fi
}

probe() {
    python3 -B "$here/probe.py" "$@"
}

metric() {
    probe metric "$work/admin" "$1"
}

fds() {
    local sum=0 task
    for task in /proc/"$pid"/task/*/fd; do sum=$((sum + $(ls "$task" | wc -l))); done
    echo "$sum"
}

rss_mib() {
    awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status"
}

# Processor time in hundredths of a second.
cpu() {
    awk '{ print $14 + $15 }' "/proc/$pid/stat"
}

base() {
    probe get "$address" /healthz >/dev/null
    base_fds=$(fds)
    base_rss=$(rss_mib)
}

# A new client is served in a second, an idle second costs nothing, nothing leaked, nobody panicked.
check_after() {
    kill -0 "$pid" 2>/dev/null || fail "$1: it is gone"
    probe get "$address" /healthz >/dev/null || fail "$1: no new client is served"
    local now before
    for _ in $(seq 100); do
        now=$(fds)
        ((now > base_fds)) || break
        sleep 0.1
    done
    ((now <= base_fds)) || fail "$1: $base_fds descriptors before, $now after"
    now=$(rss_mib)
    ((now <= base_rss + 16)) || fail "$1: $base_rss MiB before, $now after"
    before=$(cpu)
    sleep 0.5
    ((($(cpu) - before) <= 5)) || fail "$1: it spins"
    ! grep -q panicked "$work/stderr" || fail "$1: it panicked"
}

stop() {
    kill -TERM "$pid"
    local code=0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    wait || code=$?
    pid=
    return "$code"
}
