#!/usr/bin/env bash
# Everything CI runs, in order, stopping at the first failure: format, lints, docs, conformance, a hold, tests, models.
# Usage: scripts/check.sh. H1SUITE names the conformance runner; without it and beside no ../shared that step is skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

step format
cargo fmt --all --check
cargo fmt --manifest-path loom/Cargo.toml --check

step lints
cargo clippy --workspace --all-targets --quiet -- -D warnings

step docs
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

step scripts
for script in scripts/*.sh scripts/faults/*.sh .ci/run; do bash -n "$script"; done
python3 - scripts/*.py scripts/faults/*.py <<'PYTHON'
import ast, pathlib, sys
for name in sys.argv[1:]:
    ast.parse(pathlib.Path(name).read_text(), name)
PYTHON

step conformance
bash scripts/conformance.sh

step "20 000 connections held, 10 000 of them active"
# The kernel's settings are left alone: a check changes nothing on the machine it runs on.
python3 -B scripts/million.py --connections 20000 --name hold --no-tune --steps 0,1k,100% \
    --expect 'bytes_per_connection<=128B' \
    --load-args '--idle 1s --probe-time 2s --active 50% --rate 5000 --active-time 3s'

step tests
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace 2>&1 | tee "$log"

step models
cargo test --manifest-path loom/Cargo.toml --release 2>&1 | tee -a "$log"

# Cargo closes one report for each test binary; this is their sum.
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
