#!/bin/sh
# Fuzzes the loaders: tests/fuzz/run.sh BUILD_FOLDER SECONDS. The seeds are the repository's YAML files,
# good and bad; what is found stays in BUILD_FOLDER/corpus for the next run.
set -eu
cd "$(dirname "$0")/../.."
build=$1
seconds=$2
mkdir -p "$build/corpus" "$build/seeds"
for file in $(find topologies workloads tests/bad_yaml -name '*.yaml'); do
  cp "$file" "$build/seeds/$(echo "$file" | tr / -)"
done
ASAN_OPTIONS=detect_leaks=0 "$build/tests/fuzz_loaders" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 \
  -dict=tests/fuzz/keys.dict -print_final_stats=1 -verbosity=0 "$build/corpus" "$build/seeds"
