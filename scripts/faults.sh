#!/usr/bin/env bash
# Injects the faults that need tools or rights a test cannot count on: one line each, pass, skip with its reason, or FAIL.
# What needs neither is in tests/faults.rs. Usage: scripts/faults.sh [NAME ...]; MYRIAPOD names the binary.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z ${MYRIAPOD:-} ]]; then
    cargo build --quiet || exit 1
    export MYRIAPOD="${CARGO_TARGET_DIR:-target}/debug/myriapod"
fi

names=("$@")
if ((${#names[@]} == 0)); then
    for script in scripts/faults/*.sh; do
        [[ $script == */lib.sh ]] || names+=("$(basename "$script" .sh)")
    done
fi

failed=0
for name in "${names[@]}"; do
    output=$(bash "scripts/faults/$name.sh" 2>&1)
    case $? in
        0) printf 'pass  %-8s %s\n' "$name" "$(tail -n 1 <<<"$output")" ;;
        77) printf 'skip  %-8s %s\n' "$name" "$(tail -n 1 <<<"$output")" ;;
        *)
            printf 'FAIL  %-8s\n%s\n' "$name" "$output"
            failed=1
            ;;
    esac
done
exit "$failed"
