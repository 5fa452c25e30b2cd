#!/usr/bin/env bash
# Fault 6: the way to every peer breaks without a word. Each is let go in its own timeout.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need unshare ip python3 pgrep
if [[ ${1:-} != inside ]]; then
    unshare -n true 2>/dev/null || skip "network namespaces are not permitted here"
    trap - EXIT
    rm -rf "$work"
    exec unshare -n bash "${BASH_SOURCE[0]}" inside
fi

ip link set lo up
mkdir "$work/site"
head -c 9000000 /dev/zero >"$work/site/large"
start --endpoints all --root "$work/site" \
    --head-timeout 1s --body-timeout 1s --idle-timeout 1s --write-timeout 1s
base
probe halfopen "$address" 100 "$work/ready" "$work/over" &
for _ in $(seq 100); do
    [[ ! -e $work/ready ]] || break
    sleep 0.05
done
# A fifth of them never spoke; the kernel may keep these to itself. Whether the rest was taken in shows a turn later.
for _ in $(seq 10); do
    open=$(metric myriapod_connections_open)
    ((open < 80)) || break
done
ip link set lo down
((open >= 80)) || fail "only $open clients are there"
began=$SECONDS
while (($(metric myriapod_connections_open) > 1)); do
    ((SECONDS - began < 8)) || fail "$(metric myriapod_connections_open) half-open connections are kept"
    sleep 0.1
done
ip link set lo up
touch "$work/over"
check_after network
stop || fail "it did not end well"
echo "$open half-open connections gone within $((SECONDS - began + 1)) s of a timeout of 1 s"
