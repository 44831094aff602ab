// What training software keeps in memory besides what the mathematics asks for: fused or unfused
// kernels keep other things for the backward pass, and so do libraries below them. And the
// operators of a block where they are not those of transformer.hpp. One row a software; `bare`
// keeps nothing and stands for the formulas of papers.
#pragma once

#include <span>
#include <string_view>

#include "base/units.hpp"
#include "model/norm_kernels.hpp"
#include "model/operator_sets.hpp"

namespace windtunnel {

struct Software {
  std::string_view name;
  // Copies of its input, in activation bytes, that a norm keeps: 1 fused (the input alone); 2 as
  // separate operations in the activations' format (also the normalised input, for the scale's
  // gradient).
  double norm_copies = 1;
  // Fused norms (`kernels: fused` and `fused_norm`).
  NormKernels norms = kOnePassNorms;
  // A fused SwiGLU keeps gate and up; as separate operations also silu(gate).
  bool fused_gate = true;
  bool fp8_gate = false;  // keeps them in one byte each
  // Of routed experts in fp8: the GEMMs apply SwiGLU and its gradient and write operands as the
  // next GEMM reads them.
  bool fused_experts = false;
  // Q, K and V of attention, and gate and up of SwiGLU, are one linear; false: one each.
  bool joins_qkv = true, joins_gate = true;
  // Linears beside each other gather their input, and sum its gradient over the ranks, each for
  // itself; false: once for all of them.
  bool linears_communicate_alone = false;
  // Sequence parallelism: a linear keeps the gathered input instead of its own part, and does not
  // gather it again in its backward pass.
  bool keeps_gathered_inputs = false;
  // Activations have the batch first, so that sequence parallelism splits their second dimension.
  // Collectives work along the first: what was gathered, and what will be scattered, is copied.
  bool batch_first = false;
  // The sum of a column-parallel linear's input gradient over the ranks runs beside its weight
  // gradient; false: it is waited for first.
  bool overlaps_sums = true;
  // Logits of all words on every tensor-parallel rank.
  bool gathers_logits = false;
  // Bytes of one logit that live from the forward to the backward pass, and at most at one time.
  double logit_bytes_kept = 4, logit_bytes_most = 4;
  // Cross entropies that are computed of every micro-batch's logits to be logged, in fp32.
  int logged_losses = 0;
  // Buffer through which gradients are reduced, in gradients; 0: they are reduced in place.
  double reduction_buffer = 0;
  // Data parallelism copies the gradients into buckets.
  bool copies_gradients = false;
  // What PyTorch, CUDA and NCCL take; false: none of it is counted.
  bool has_runtime = true;
  // Of a biased block with GELU, dropout and unfused attention; null: as transformer.hpp says. What
  // is kept does not depend on it.
  const OperatorSet* operators = nullptr;
  // Images have their channels first. The tensor cores of 16-bit convolutions want them last: cuDNN
  // turns what it reads and writes round. Source: NVIDIA cuDNN, legacy API, "Data and Filter
  // Formats"; docs.mosaicml.com, Composer, Channels Last.
  bool channels_first = false;
  std::string_view source;
};

std::span<const Software> software_table();
const Software* find_software(std::string_view name);  // null if there is none
const Software& bare_software();

}  // namespace windtunnel
