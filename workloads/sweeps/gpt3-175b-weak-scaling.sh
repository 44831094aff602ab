#!/bin/sh
# How far does GPT-3 175B scale when the batch grows with the machine? One replica is 64 GPUs (tensor
# 8 x pipeline 8) with 32 samples; 3072 GPUs reach the batch of 1536 of Narayanan et al. 2021.
cd "$(dirname "$0")/../.." || exit 1
exec "${WINDTUNNEL:-./windtunnel}" sweep workloads/gpt3-175b-selene.yaml \
  --vary gpus,parallel.data,batch.global=64..1024*2:1..16*2:32..512*2,1536:24:768,2048:32:1024,3072:48:1536 \
  --out "${OUT:-out/sweeps}/gpt3-175b-weak-scaling" "$@"
