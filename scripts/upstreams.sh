#!/usr/bin/env bash
# upstreams.py with its flags; see --help.
set -euo pipefail
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/upstreams.py" "$@"
