#!/bin/sh
# From how many single-GPU servers on is ResNet-50 limited by 25 Gb/s Ethernet, and what does 100 Gb/s
# InfiniBand change? Weak scaling, 64 images per GPU.
cd "$(dirname "$0")/../.." || exit 1
exec "${WINDTUNNEL:-./windtunnel}" sweep workloads/resnet-50-ethernet.yaml \
  --vary cluster=topologies/clusters/ethernet-64.yaml,topologies/clusters/infiniband-64.yaml \
  --vary gpus,parallel.data,batch.global=1..64*2:1..64*2:64..4096*2 \
  --out "${OUT:-out/sweeps}/resnet-50-networks" "$@"
