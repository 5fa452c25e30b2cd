#!/usr/bin/env bash
# Fault 3: a hundred greedy clients cost a bounded amount, far below what they sent; in a control group of 64 MiB the
# server outlives them. MYRIAPOD_CGROUP names a delegated group, since this script takes none by itself.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 pgrep

mkdir "$work/site"
head -c 3000000 /dev/zero >"$work/site/large"
prefix=()
how="measured; the control group was left out, name a delegated one in MYRIAPOD_CGROUP"
if [[ -n ${MYRIAPOD_CGROUP:-} ]]; then
    group=$MYRIAPOD_CGROUP/myriapod-$$
    mkdir "$group" || skip "may not make $group"
    limit=$group/memory.max
    [[ -e $limit ]] || limit=$group/memory.limit_in_bytes
    echo $((64 << 20)) >"$limit" || skip "may not limit $group"
    # shellcheck disable=SC2016
    prefix=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" --)
    how="within a control group of 64 MiB"
fi

start "${prefix[@]}" --endpoints all --root "$work/site" --write-timeout 2s --body-timeout 2s --head-timeout 2s
base
probe greedy "$address" 3 &
clients=$!
most=0
while kill -0 "$clients" 2>/dev/null; do
    now=$(rss_mib)
    ((now <= most)) || most=$now
    sleep 0.05
done
# 16 KiB to read into, 64 KiB and one answer more to write, 32 KiB held: for each of a hundred.
((most <= base_rss + 24)) || fail "$base_rss MiB before, $most MiB under 100 greedy clients"
check_after memory
stop || fail "it did not end well"
[[ -z ${group:-} ]] || rmdir "$group"
echo "from $base_rss to at most $most MiB under 100 greedy clients, $how"
