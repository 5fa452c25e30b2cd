#!/usr/bin/env bash
# Fault 13: every worker is in a handler that does not return. It is told and shows in /readyz, substitutes take their
# places, everybody else is served in short turns, and the end does not wait for them.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 pgrep

start --demo --endpoints all --workers 2 --request-timeout 200ms --drain-timeout 500ms
base
mark=$(probe turns "$work/admin")
probe stick "$address" 2
for _ in $(seq 100); do
    ((stuck = $(metric myriapod_workers_stuck))) || true
    ((stuck < 2)) || break
    sleep 0.1
done
((stuck == 2)) || fail "$stuck workers are stuck, not 2"
(($(metric myriapod_workers) == 4)) || fail "no substitutes"
probe get "$work/admin" /readyz | grep -q degraded || fail "/readyz does not say so"
told='has been in the handler of GET /work .* for .* s, waiting in .*; a substitute takes its place'
grep -q "$told" "$work/stderr" || fail "it is not told"
probe get "$address" '/work?ms=1' >/dev/null || fail "no substitute serves"

probe stick "$address" 2
for _ in $(seq 100); do
    ((stuck = $(metric myriapod_workers_stuck))) || true
    ((stuck < 4)) || break
    sleep 0.1
done
((stuck == 4)) || fail "$stuck workers are stuck, not 4"
served=$(probe ask "$address" 5000) || fail "others are not served: $served"
turns=$(probe turns "$work/admin" "$mark") || fail "$turns"
began=$(date +%s%N)
stop || fail "it did not end well"
((ms = ($(date +%s%N) - began) / 1000000)) || true
((ms < 3000)) || fail "the end took $ms ms"
echo "four workers stuck: $served; $turns; gone in $ms ms"
