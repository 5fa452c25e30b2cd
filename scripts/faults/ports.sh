#!/usr/bin/env bash
# Fault 11: no local port is left for connections to upstreams. New ones are 503 at once and nothing spins; those that are
# there go on, and all is well when ports are back.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need unshare ip python3 pgrep sysctl
if [[ ${1:-} != inside ]]; then
    unshare -n true 2>/dev/null || skip "network namespaces are not permitted here"
    trap - EXIT
    rm -rf "$work"
    exec unshare -n bash "${BASH_SOURCE[0]}" inside
fi

ip link set lo up
python3 -B "$here/upstream.py" 127.0.0.1:9000 2>"$work/upstream" &
upstream=$!
for _ in $(seq 100); do
    ! probe get 127.0.0.1:9000 /healthz >/dev/null 2>&1 || break
    sleep 0.05
done
# Clients come by a unix socket, so that only the way upstream takes ports.
cat >"$work/site.toml" <<TOML
[upstream.slow]
servers = ["http://127.0.0.1:9000"]
keep-alive-timeout = "1s"
[[route]]
path = "/healthz"
respond = "ok"
[[route]]
path = "/*"
proxy = "slow"
TOML
start --config "$work/site.toml" --listen "unix:$work/client"
address=$work/client
base
sysctl -qw net.ipv4.ip_local_port_range="40000 40007"
probe hold "$address" "/slow?ms=4000" 8 20 &
holders=$!
for _ in $(seq 40); do
    (($(probe status "$address" /plaintext) != 503)) || break
    sleep 0.02
done
(($(probe status "$address" /plaintext) == 503)) || fail "eight ports are enough for more than eight connections"
before=$(cpu)
slowest=$(probe statuses "$address" /plaintext 50 503) || fail "not every one was 503"
((slowest < 100)) || fail "a 503 took $slowest ms"
sleep 0.5
((($(cpu) - before) <= 40)) || fail "it spins"
wait "$holders" || fail "those that had a connection have no answer"
sysctl -qw net.ipv4.ip_local_port_range="32768 60999"
for _ in $(seq 80); do
    (($(probe status "$address" /plaintext) != 200)) || break
    sleep 0.1
done
(($(probe status "$address" /plaintext) == 200)) || fail "it does not recover"
check_after ports
kill "$upstream"
stop || fail "it did not end well"
echo "50 of 50 were 503 within $slowest ms while ports were out, and 200 when they were back"
