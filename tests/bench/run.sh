#!/bin/sh
# The table of the README: CPU time, memory and events of the main job at each fidelity, and at 16,384 GPUs.
# CPU time, not wall time; on a busy machine it still moves by tens of per cent.
set -eu
cd "$(dirname "$0")/../.."
bench=build/release/tests/bench
"$bench" workloads/gpt3-175b-selene.yaml folded
"$bench" workloads/gpt3-175b-selene.yaml stage
"$bench" workloads/gpt3-175b-selene.yaml full
"$bench" workloads/gpt3-175b-16k.yaml folded
