#!/usr/bin/env bash
# proxy.py with its flags; see --help.
set -euo pipefail
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/proxy.py" "$@"
