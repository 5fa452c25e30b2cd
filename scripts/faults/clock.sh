#!/usr/bin/env bash
# Fault 16: the wall clock jumps an hour, both ways. Timers are monotonic, so nobody is timed out; `Date` follows.
# Needs libfaketime. Without it, the tests of base::clock say the same with a clock of their own.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 pgrep
library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1 || true)
[[ -n $library ]] || skip "needs libfaketime; the tests of base::clock cover the jumps without it"

echo '+0' >"$work/clock"
start env "LD_PRELOAD=$library" "FAKETIME_TIMESTAMP_FILE=$work/clock" FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 -- \
    --idle-timeout 60s
base
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
ask() {
    printf 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' >&3
    local line date=
    while IFS= read -r -t 2 line <&3 && [[ $line != $'\r' ]]; do
        [[ $line != Date:* ]] || date=${line#Date: }
    done
    read -r -t 2 line <&3
    [[ -n $date ]] || fail "the held connection was closed"
    date -d "${date%$'\r'}" +%s
}
for jump in +3600 -3600 +0; do
    echo "$jump" >"$work/clock"
    sleep 1.2
    off=$(($(ask) - $(date +%s) - jump))
    ((off >= -2 && off <= 2)) || fail "Date is off by $off s after a jump of $jump s"
done
exec 3>&-
(($(metric myriapod_connections_closed_total) >= 1))
check_after clock
stop || fail "it did not end well"
echo "jumps of an hour: nobody timed out, Date follows"
