#!/bin/sh
# What does each ZeRO stage cost against plain data parallelism (stage 0) as the network gets slower?
# GPT-2 1.5B on 4 nodes of 8 A100s with 8 NICs each; two micro-batches of 8 samples per GPU.
cd "$(dirname "$0")/../.." || exit 1
exec "${WINDTUNNEL:-./windtunnel}" sweep workloads/gpt2-1.5b-zero2.yaml \
  --set cluster=topologies/clusters/azure-ndm-a100-v4.yaml \
  --set gpus=32 --set parallel.data=32 --set batch.global=512 \
  --vary "cluster.nodes.0.type.nics.bandwidth=200 Gb/s,100 Gb/s,50 Gb/s,25 Gb/s,10 Gb/s" \
  --vary parallel.zero_stage=0..3 \
  --out "${OUT:-out/sweeps}/zero-by-bandwidth" "$@"
