#!/bin/sh
# make bench: see bench.py --help.
set -eu
exec /usr/bin/python3 "$(dirname "$0")/bench.py" --bin "$1" ${BENCH_ARGS:-}
