#!/usr/bin/env bash
# Predicts every published run anew and compares with what validation/ says: intervals.json, which
# reports quote, and the tables of README.md. Some two minutes on two cores.
#
#   tests/accuracy/run.sh [PROGRAM]    PROGRAM: the release build's windtunnel
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${1:-$root/build/release/windtunnel}
[ -x "$program" ] || { echo "no program at $program: build it first" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$root"

"$program" validate validation/published/[0-9]*.csv --split all \
  --write-intervals "$folder/intervals.json" >"$folder/log"
cp validation/README.md "$folder/README.md"
"$program" validate validation/published/[0-9]*.csv validation/published/systems/collectives.csv \
  --write-readme "$folder/README.md" >"$folder/log"
"$program" validate validation/published/01*.csv validation/published/12*.csv --zero-shot \
  --write-readme "$folder/README.md" >"$folder/log"

is_old=0
diff validation/intervals.json "$folder/intervals.json" || is_old=1
diff validation/README.md "$folder/README.md" || is_old=1
[ "$is_old" -eq 0 ] || echo "validation/ is old: validation/README.md says how to write it again" >&2
exit "$is_old"
