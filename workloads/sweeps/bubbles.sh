#!/bin/sh
# How many micro-batches does each pipeline schedule need to keep its bubble small, and what memory
# does it take? Eight equal layers on four stages; schedules with two chunks a device have four layers
# each on every stage.
cd "$(dirname "$0")/../.." || exit 1
exec "${WINDTUNNEL:-./windtunnel}" sweep workloads/gpipe-vs-1f1b.yaml \
  --vary schedule,parallel.virtual_stages=gpipe:1,1f1b:1,interleaved:2,zb-h1:1,zb-h2:1,zb-v:2 \
  --vary batch.global=4..64*2 \
  --out "${OUT:-out/sweeps}/bubbles" "$@"
