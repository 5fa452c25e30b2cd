#!/usr/bin/env bash
# Fault 17: the disk of the access log is full, then has room again. Serving goes on, lost lines are counted, whole lines
# follow by themselves.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need unshare mount python3 pgrep
if [[ ${1:-} != inside ]]; then
    unshare -m true 2>/dev/null || skip "mount namespaces are not permitted here"
    trap - EXIT
    rm -rf "$work"
    exec unshare -m bash "${BASH_SOURCE[0]}" inside
fi

mkdir "$work/disk" "$work/site"
head -c 40000 /dev/zero >"$work/site/large"
mount -t tmpfs -o size=64k tmpfs "$work/disk" || skip "may not mount a tmpfs"
trap 'umount -l "$work/disk"; finish' EXIT
head -c 57344 /dev/zero >"$work/disk/filler"
start --endpoints all --root "$work/site" --access-log "$work/disk/access.log"
base
for _ in $(seq 40); do
    (($(metric myriapod_log_lines_dropped_total) == 0)) || break
    served=$(probe storm "$address" 30)
    ((served == 30)) || fail "only $served of 30 were served while the disk filled"
done
dropped=$(metric myriapod_log_lines_dropped_total)
((dropped > 0)) || fail "the disk did not fill"
served=$(probe storm "$address" 30)
((served == 30)) || fail "only $served of 30 were served with the disk full"

rm "$work/disk/filler"
for _ in $(seq 50); do
    probe get "$address" /json >/dev/null
    ! grep -q ' /json ' "$work/disk/access.log" || break
    sleep 0.1
done
grep -q ' /json ' "$work/disk/access.log" || fail "the log does not go on by itself"
! grep -qv '^[a-z0-9.:]* - - \[.*"$' "$work/disk/access.log" || fail "half a line: $(grep -v '^[a-z0-9.:]* - - \[.*"$' "$work/disk/access.log" | head -n 1)"
check_after disk
(($(grep -c . "$work/stderr") < 40)) || fail "the events are not limited"
stop || fail "it did not end well"
echo "$dropped lines lost and counted, then whole lines again"
