#!/bin/sh
# Fills a peer's configuration in: fill.sh NAME PORT DIR ROOT writes DIR/NAME, with the port to listen on, DIR for what
# the server writes, and ROOT for the files it serves.
set -eu
sed -e "s|@PORT@|$2|g; s|@DIR@|$3|g; s|@ROOT@|$4|g" "$(dirname "$0")/$1" > "$3/$1"
